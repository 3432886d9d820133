{# In plpgsql, so that a connection keeps the plan: to plan sync_health takes a quarter of a second. The runs are counted
   over an hour, not since the beginning: records of old runs are deleted, and a counter must not fall. #}
begin
    return (
        with

        candle_tables as (
            select * from {{ all_rows_of(ref('sync_health')) }}
        ),

        sources as (
            select * from {{ all_rows_of(ref('source_health')) }}
        ),

        recent_runs as (
            select *
            from {{ all_rows_of(source('ops', 'sync_runs')) }}
            where finished_at > {{ sync_clock() }} - interval '1 hour'
        ),

        outcomes as (
            select
                sources.source,
                outcome.status,
                count(recent_runs.run_id) as runs
            from sources
            cross join unnest(array['done', 'partial', 'failed', 'interrupted']) as outcome (status)
            left join recent_runs
                on sources.source = recent_runs.source and outcome.status = recent_runs.status
            group by sources.source, outcome.status
        ),

        totals as (
            select
                sources.source,
                (
                    select coalesce(sum(recent_runs.rows_changed), 0)
                    from recent_runs
                    where recent_runs.source = sources.source
                ) as rows_changed,
                (
                    select count(*)
                    from {{ all_rows_of(source('ops', 'rejected_rows')) }} as reject
                    where reject.source = sources.source and reject.resolved_at is null
                ) as rejects,
                (
                    select extract(epoch from newest.finished_at - newest.started_at)
                    from {{ all_rows_of(source('ops', 'sync_runs')) }} as newest
                    where newest.source = sources.source and newest.status in ('done', 'partial', 'failed')
                    order by newest.run_id desc
                    limit 1
                ) as run_seconds
            from sources
        )

        select
            json_build_object(
                'bar_age_seconds', (
                    select
                        json_agg(
                            json_build_array(
                                upper(symbol), timeframe, extract(epoch from {{ sync_clock() }} - newest_bar)
                            )
                        ) filter (where newest_bar is not null)
                    from candle_tables
                ),
                'tables', (select json_build_array(json_build_array(count(*))) from candle_tables),
                'tables_due', (
                    select json_build_array(json_build_array(count(*) filter (where status <> 'current')))
                    from candle_tables
                ),
                'source_verdict', (select json_agg(json_build_array(source, verdict, 1)) from sources),
                'runs_last_hour', (select json_agg(json_build_array(source, status, runs)) from outcomes),
                'rows_changed_last_hour', (select json_agg(json_build_array(source, rows_changed)) from totals),
                'rejects_open', (select json_agg(json_build_array(source, rejects)) from totals),
                'run_seconds', (
                    select json_agg(json_build_array(source, run_seconds)) filter (where run_seconds is not null)
                    from totals
                )
            )
    );
end
