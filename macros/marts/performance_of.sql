{#
    CTEs that end in `performance`: the measures of results (trades or positions) for each combination of `keys`. A result
    has opened_at, closed_at, net_pnl, total_commission and `place`, which orders those of one moment.

    Sharpe and Sortino are those of the daily net profit (UTC, days without an exit are 0) between the first and the last
    day, times the root of 365: these markets never close. Sharpe divides the mean by the sample's standard deviation,
    Sortino by the root of the mean square of the losing days.
#}
{% macro performance_of(results, keys) %}
{% set keyed = keys | join(', ') %}
in_turn as (
    select
        *,
        sign(net_pnl) as outcome,
        sum(net_pnl) over of_time as cumulative_pnl,
        row_number() over of_time - row_number() over of_outcome as streak
    from {{ results }}
    window
        of_time as (partition by {{ keyed }} order by closed_at, place),
        of_outcome as (partition by {{ keyed }}, sign(net_pnl) order by closed_at, place)
),

peaks as (
    select
        *,
        greatest(0, max(cumulative_pnl) over (partition by {{ keyed }} order by closed_at, place)) - cumulative_pnl
            as below_peak,
        -- time in the market: what of it no earlier result has covered
        greatest(
            0,
            extract(
                epoch from closed_at - greatest(
                    opened_at,
                    coalesce(
                        max(closed_at) over (
                            partition by {{ keyed }} order by opened_at, closed_at, place
                            rows between unbounded preceding and 1 preceding
                        ),
                        opened_at
                    )
                )
            )
        ) as newly_covered
    from in_turn
),

totals as (
    select
        {{ keyed }},
        {{ trade_measures([
            'total_trades', 'winning_trades', 'losing_trades', 'win_rate_pct', 'net_pnl', 'total_fees',
        ]) }},
        sum(net_pnl) filter (where net_pnl > 0) / -nullif(sum(net_pnl) filter (where net_pnl < 0), 0) as profit_factor,
        avg(net_pnl) as expectancy,
        avg(net_pnl) filter (where net_pnl > 0) as average_win,
        avg(net_pnl) filter (where net_pnl < 0) as average_loss,
        max(net_pnl) as best,
        min(net_pnl) as worst,
        max(below_peak) as max_drawdown,
        round(
            100 * sum(newly_covered)
            / nullif(extract(epoch from max(closed_at) - min(opened_at)), 0),
            2
        ) as exposure_pct,
        min(opened_at) as first_entry,
        max(closed_at) as last_exit
    from peaks
    group by {{ keyed }}
),

streaks as (
    select
        {{ keyed }},
        coalesce(max(length) filter (where outcome > 0), 0) as longest_winning_streak,
        coalesce(max(length) filter (where outcome < 0), 0) as longest_losing_streak
    from (
        select
            {{ keyed }},
            outcome,
            streak,
            count(*) as length
        from in_turn
        group by {{ keyed }}, outcome, streak
    ) as counted
    group by {{ keyed }}
),

daily as (
    select
        {{ keyed }},
        (closed_at at time zone 'UTC')::date as day,
        sum(net_pnl) as net_pnl
    from {{ results }}
    group by {{ keyed }}, day
),

-- days without an exit count as zeros: they change the number of days and nothing else
moments as (
    select
        {{ keyed }},
        max(day) - min(day) + 1 as days,
        sum(net_pnl) as total,
        sum(net_pnl * net_pnl) as squares,
        sum(net_pnl * net_pnl) filter (where net_pnl < 0) as losing_squares
    from daily
    group by {{ keyed }}
),

ratios as (
    select
        {{ keyed }},
        days,
        total / days as mean,
        sqrt((squares - total * total / days) / nullif(days - 1, 0)) as deviation,
        sqrt(losing_squares / days) as downside
    from moments
),

performance as (
    select
        totals.*,
        streaks.longest_winning_streak,
        streaks.longest_losing_streak,
        ratios.days,
        round(ratios.mean / nullif(ratios.deviation, 0) * sqrt(365.0), 12) as sharpe,
        round(ratios.mean / nullif(ratios.downside, 0) * sqrt(365.0), 12) as sortino
    from totals
    inner join streaks using ({{ keyed }})
    inner join ratios using ({{ keyed }})
)
{% endmacro %}
