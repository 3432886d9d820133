{#
    What `staging.mt5_equity` has of the last days. Older rows are only here. Rows that come of age are thinned by tombstones:
    ten days of them are looked at, so that a service may rest for some.
#}
select
    account_id,
    extracted_at as recorded_at,
    {{ json_number('payload', ['balance']) }} as balance,
    {{ json_number('payload', ['equity']) }} as equity,
    {{ json_number('payload', ['margin']) }} as margin,
    {{ json_number('payload', ['free_margin', 'margin_free']) }} as free_margin,
    {{ json_number('payload', ['margin_level']) }} as margin_level,
    extracted_at as synced_at
from {{ source('accounts', 'mt5_equity') }}
{% if is_incremental() %}
where extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
union all
select
    aged.account_id,
    aged.recorded_at,
    null as balance,
    null as equity,
    null as margin,
    null as free_margin,
    null as margin_level,
    null as synced_at
from {{ this }} as aged
where aged.synced_at between {{ sync_clock() }} - interval '100 days' and {{ sync_clock() }} - interval '90 days'
    and exists (
        select
        from {{ this }} as later
        where later.account_id = aged.account_id and later.recorded_at > aged.recorded_at
            and later.recorded_at < date_trunc('day', aged.recorded_at, 'UTC') + interval '24 hours'
    )
{% endif %}
