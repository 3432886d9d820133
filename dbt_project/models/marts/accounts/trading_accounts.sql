{# The lookups are lateral, by the primary key of the results: an account has thousands of those. #}
with

{% if is_incremental() %}
changed as (
    select distinct account_id
    from {{ source('accounts', 'mt5_sync_results') }}
    where extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
    union
    select known.account_id
    from {{ this }} as known
    left join {{ all_rows_of(source('register', 'registered_accounts')) }} as register on known.account_id = register.id
    where (known.login_number, known.broker_name, known.is_active)
        is distinct from (register.login_number, register.broker_name, coalesce(register.is_active, false))
),

{% else %}
changed as (
    select distinct account_id from {{ source('accounts', 'mt5_sync_results') }}
),

{% endif %}
final as (
    select
        changed.account_id,
        info.balance,
        info.equity,
        info.margin,
        info.free_margin,
        info.margin_level,
        info.currency,
        info.leverage,
        newest.completed_at as last_sync_at,
        succeeded.completed_at as last_successful_sync_at,
        failures.number as sync_failure_count,
        newest.error_message as last_connection_error,
        newest.extracted_at as synced_at,
        changed.account_id as id,
        register.login_number,
        register.broker_name,
        coalesce(register.is_active, false) as is_active
    from changed
    cross join lateral (
        select
            completed_at,
            error_message,
            extracted_at
        from {{ source('accounts', 'mt5_sync_results') }}
        where account_id = changed.account_id and status <> 'skipped'
        order by run_id desc
        limit 1
    ) as newest
    left join lateral (
        select completed_at
        from {{ source('accounts', 'mt5_sync_results') }}
        where account_id = changed.account_id and status = 'success'
        order by run_id desc
        limit 1
    ) as succeeded on true
    left join lateral (
        select run_id
        from {{ source('accounts', 'mt5_sync_results') }}
        where account_id = changed.account_id and status in ('success', 'partial')
        order by run_id desc
        limit 1
    ) as reached on true
    cross join lateral (
        select count(*)::integer as number
        from {{ source('accounts', 'mt5_sync_results') }}
        where account_id = changed.account_id
            and run_id > coalesce(reached.run_id, 0)
            and status = 'failed'
    ) as failures
    left join (select * from {{ ref('stg_accounts__info') }}) as info on changed.account_id = info.account_id
    left join {{ all_rows_of(source('register', 'registered_accounts')) }} as register
        on changed.account_id = register.id
)

select * from final
