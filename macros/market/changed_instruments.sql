{# The instruments of which a key or its row changed after the newest row of this table. #}
{% macro changed_instruments() %}
    select known.instrument_id
    from {{ source('upstox', 'upstox_instruments') }} as raw
    inner join {{ source('upstox', 'upstox_keys') }} as known
        on raw.instrument_key = known.instrument_key
            and staging.upstox_expiry_date(raw.expiry) = known.expiry_date
    where raw.extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
{% endmacro %}
