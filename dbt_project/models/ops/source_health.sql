with

moment as (
    select
        {{ sync_clock() }} as now,
        {{ grace() }} as grace
),

runs as (
    select * from {{ source('ops', 'sync_runs') }}
),

newest as (
    select
        source,
        max(run_id) as last_run_id,
        max(case when status in ('done', 'partial', 'failed') then run_id end) as ended_run_id,
        max(case when status = 'done' then finished_at end) as last_success_at
    from runs
    group by source
),

states as (
    select
        newest.*,
        last_run.status as last_status,
        last_run.started_at as last_started_at,
        ended.status as ended_status,
        ended.finished_at as last_ended_at,
        ended.due_again_at,
        ended.error,
        -- records of before `backend_pid` do not tell
        last_run.status = 'running' and (last_run.backend_pid is null or {{ holds_a_run_lock('last_run.backend_pid') }})
            as is_at_work
    from newest
    inner join runs as last_run on newest.last_run_id = last_run.run_id
    left join runs as ended on newest.ended_run_id = ended.run_id
),

judged as (
    select
        states.*,
        case
            when is_at_work then 'at work'
            when last_status = 'running' and last_started_at < moment.now - moment.grace then 'broken off'
            when due_again_at < moment.now - moment.grace then 'overdue'
        end as service
    from states
    cross join moment
),

final as (
    select
        source,
        last_run_id,
        last_status,
        last_ended_at,
        last_success_at,
        due_again_at,
        case
            when service in ('broken off', 'overdue') then 'dead'
            when ended_status in ('failed', 'partial') then ended_status
            when ended_status is null then 'running'
            else 'current'
        end as verdict,
        concat_ws(
            '; ',
            case service
                when 'broken off' then
                    'run ' || last_run_id || ' began at ' || {{ utc_text('last_started_at') }} || ' and broke off'
                when 'overdue' then
                    'the service has stopped: its next run was due at ' || {{ utc_text('due_again_at') }}
            end,
            case ended_status
                when 'failed' then 'the last run failed: ' || coalesce(error, 'no reason was recorded')
                when 'partial' then 'the last run was partial: ' || coalesce(error, 'no reason was recorded')
            end
        ) as reason
    from judged
)

select
    source,
    last_run_id,
    last_status,
    last_ended_at,
    last_success_at,
    due_again_at,
    verdict,
    nullif(reason, '') as reason
from final
