select
    runs.run_id,
    -- one fetch serves all bots; --bot chooses what is reported
    reported.bot_id,
    case runs.command
        when 'bybit backfill' then 'backfill'
        when 'bybit run' then 'hourly'
        else 'manual'
    end as sync_type,
    runs.range_start as start_time,
    runs.range_end as end_time,
    case runs.status
        when 'running' then 'running'
        when 'done' then 'completed'
        when 'partial' then 'partial'
        else 'failed'
    end as status,
    coalesce(reported.trades_synced, 0) as trades_synced,
    runs.rows_changed as executions_synced,
    trim_scale(extract(epoch from runs.finished_at - runs.started_at)) as duration_seconds,
    case when runs.status = 'interrupted' then coalesce(runs.error, 'interrupted') else runs.error end as error_message,
    runs.started_at as sync_started_at,
    runs.finished_at as sync_completed_at
from (select * from {{ source('ops', 'sync_runs') }}) as runs
left join (select * from {{ source('bybit', 'bybit_runs') }}) as reported on runs.run_id = reported.run_id
where runs.source = 'bybit'
