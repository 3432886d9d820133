select
    account_id,
    count(*) filter (where status = 'failed') as failed_syncs,
    count(*) filter (where status = 'partial') as partial_syncs,
    max(completed_at) as last_failure_at,
    (array_agg(error_message order by started_at desc))[1] as last_error
from {{ ref('sync_logs') }}
where status in ('failed', 'partial') and started_at > {{ sync_clock() }} - interval '24 hours'
group by account_id
