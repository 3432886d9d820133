select
    run_id as execution_id,
    account_id,
    sync_type,
    started_at,
    completed_at,
    status,
    trades_synced,
    error_message,
    round(extract(epoch from completed_at - started_at) * 1000)::integer as duration_ms
from {{ source('accounts', 'mt5_sync_results') }}
