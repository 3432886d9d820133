select
    extract(hour from started_at at time zone 'UTC')::integer as hour_of_day,
    count(*) as syncs,
    round(avg(duration_ms), 1) as average_duration_ms,
    max(duration_ms) as longest_duration_ms
from {{ ref('sync_logs') }}
where status <> 'skipped'
group by 1
