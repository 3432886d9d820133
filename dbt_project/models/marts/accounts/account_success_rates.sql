select
    account_id,
    count(*) as syncs,
    count(*) filter (where status = 'success') as successful_syncs,
    round(100.0 * count(*) filter (where status = 'success') / count(*), 2) as success_rate_pct
from {{ ref('sync_logs') }}
where status <> 'skipped' and started_at > {{ sync_clock() }} - interval '24 hours'
group by account_id
