{# Of an instrument's keys the one that is listed counts, else the one that was listed last. #}
with

instruments as (
    select * from {{ ref('stg_upstox__instruments') }}
    where fault is null
),

{% if is_incremental() %}
changed as (
    select distinct instrument_id
    from instruments
    where extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
),

{% endif %}
final as (
    select distinct on (instrument_id)
        instrument_id,
        instrument_key,
        trading_symbol,
        name,
        exchange,
        segment,
        instrument_type,
        isin,
        series,
        exchange_token,
        tick_size,
        underlying_key,
        underlying_type,
        is_listed,
        max(extracted_at) over (partition by instrument_id) as synced_at
    from instruments
    {% if is_incremental() %}
    where instrument_id in (select changed.instrument_id from changed)
    {% endif %}
    order by instrument_id asc, is_listed desc, first_seen desc, instrument_key asc
)

select * from final
