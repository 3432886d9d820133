select
    -- results of before have none
    coalesce(execution_id, md5('run ' || run_id)::uuid) as execution_id,
    run_id,
    account_id,
    sync_type,
    started_at,
    completed_at,
    status,
    trades_synced,
    error_message,
    extracted_at as created_at,
    round(extract(epoch from completed_at - started_at) * 1000)::integer as duration_ms
from {{ source('accounts', 'mt5_sync_results') }}
