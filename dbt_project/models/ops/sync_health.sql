with

moment as (
    select
        {{ sync_clock() }} as now,
        {{ grace() }} as grace
),

candle_tables as (
    select * from {{ ref('candle_tables') }}
),

symbols as (
    select * from {{ source('ops', 'sync_symbols') }}
),

{# a run that found the file locked has read nothing; one that failed after reading has done its part for us #}
last_reading as (
    select max(started_at) as started_at
    from (
        select started_at
        from {{ source('ops', 'sync_runs') }}
        where source = 'mt5' and (status = 'done' or rows_read > 0)
        order by run_id desc
        limit 1
    ) as newest
),

{# materialized, or its expression is worked out anew for each use below #}
due as materialized (
    select
        candle_tables.*,
        {{ newest_due_bar(
            symbol='candle_tables.symbol',
            minutes='candle_tables.minutes',
            at='(moment.now - moment.grace)',
        ) }} as expected_bar
    from candle_tables
    cross join moment
),

judged as (
    select
        due.*,
        symbols.source_newest as source_bar,
        symbols.last_error,
        last_reading.started_at as last_read_at,
        case
            when due.newest_bar >= due.expected_bar then 'current'
            when last_reading.started_at is null or last_reading.started_at < moment.now - moment.grace then 'unread'
            when due.landed_bar > coalesce(due.newest_bar, '-infinity') then 'unbuilt'
            when symbols.status in ('missing', 'failed') then 'failed'
            when symbols.source_newest >= due.expected_bar then 'gap'
            else 'late'
        end as status
    from due
    cross join moment
    cross join last_reading
    left join symbols using (symbol)
),

final as (
    select
        symbol,
        timeframe,
        newest_bar,
        expected_bar,
        landed_bar,
        source_bar,
        case when status = 'current' then interval '0' else expected_bar - newest_bar end as lag,
        status,
        case status
            when 'unread' then coalesce(
                'no run has read the source since ' || {{ utc_text('last_read_at') }}, 'no run has read the source yet'
            )
            when 'unbuilt' then 'its newest bar is in staging and not yet in the table'
            when 'failed' then last_error
            when 'gap' then 'the source has newer bars, but no readable one of ' || {{ utc_text('expected_bar') }}
            when 'late' then coalesce(
                'the newest bar of the source is of ' || {{ utc_text('source_bar') }}, 'the source has no bar yet'
            )
        end as reason
    from judged
)

select * from final
