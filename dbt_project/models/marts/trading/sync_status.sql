select
    run_id,
    -- one fetch serves all bots
    null::text as bot_id,
    case command
        when 'bybit backfill' then 'backfill'
        when 'bybit run' then 'hourly'
        else 'manual'
    end as sync_type,
    range_start as start_time,
    range_end as end_time,
    case status
        when 'running' then 'running'
        when 'done' then 'completed'
        when 'partial' then 'partial'
        else 'failed'
    end as status,
    rows_changed as trades_synced,
    trim_scale(extract(epoch from finished_at - started_at)) as duration_seconds,
    case when status = 'interrupted' then coalesce(error, 'interrupted') else error end as error_message,
    started_at as sync_started_at,
    finished_at as sync_completed_at
from {{ source('ops', 'sync_runs') }}
where source = 'bybit'
