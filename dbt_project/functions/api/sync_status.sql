with

states as (
    select * from {{ all_rows_of(ref('source_health')) }}
),

final as (
    select
        states.source,
        json_build_object(
            'source', states.source,
            'verdict', states.verdict,
            'reason', states.reason,
            'last_status', states.last_status,
            'last_ended_at', {{ iso_text('states.last_ended_at') }},
            'last_success_at', {{ iso_text('states.last_success_at') }},
            'due_again_at', {{ iso_text('states.due_again_at') }},
            'runs', last_runs.answer
        ) as answer
    from states
    cross join lateral (
        select
            json_agg(
                json_build_object(
                    'run_id', run_id,
                    'command', command,
                    'status', status,
                    'started_at', {{ iso_text('started_at') }},
                    'finished_at', {{ iso_text('finished_at') }},
                    'rows_read', rows_read,
                    'rows_changed', rows_changed,
                    'rows_rejected', rows_rejected,
                    'models_built', models_built,
                    'models_failed', models_failed,
                    'error', error
                ) order by run_id desc
            ) as answer
        from (
            select *
            from {{ all_rows_of(source('ops', 'sync_runs')) }}
            where source = states.source
            order by run_id desc
            limit 10
        ) as newest
    ) as last_runs
)

select
    json_build_object(
        'success', true,
        'sources', coalesce(json_agg(answer order by source), '[]')
    )
from final
