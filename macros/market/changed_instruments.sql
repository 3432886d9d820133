{# The instruments of which a key or its row changed after the newest row of this table. #}
{% macro changed_instruments() %}
    select known.instrument_id
    from {{ all_rows_of(source('upstox', 'upstox_instruments')) }} as landed
    inner join {{ all_rows_of(source('upstox', 'upstox_keys')) }} as known
        on landed.instrument_key = known.instrument_key
            and staging.upstox_expiry_date(landed.expiry) = known.expiry_date
    where landed.extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
{% endmacro %}
