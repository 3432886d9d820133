-- Which runs took longest? The 20 slowest that have ended.
select
    run_id,
    command,
    status,
    started_at,
    epoch(finished_at - started_at) as seconds,
    rows_read,
    rows_changed,
    models_built,
    error
from wh.ops.sync_runs
where finished_at is not null
order by seconds desc, run_id desc
limit 20
