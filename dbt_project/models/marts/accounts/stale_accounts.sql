select
    register.id as account_id,
    register.login_number,
    register.broker_name,
    standing.last_sync_at,
    standing.last_successful_sync_at,
    coalesce(standing.sync_failure_count, 0) as sync_failure_count,
    standing.last_connection_error
from {{ all_rows_of(source('register', 'registered_accounts')) }} as register
left join {{ all_rows_of(ref('trading_accounts')) }} as standing on register.id = standing.account_id
where register.is_active
    and register.created_at < {{ sync_clock() }} - interval '{{ var("account_stale_minutes") | int }} minutes'
    and coalesce(standing.last_successful_sync_at, '-infinity')
    < {{ sync_clock() }} - interval '{{ var("account_stale_minutes") | int }} minutes'
