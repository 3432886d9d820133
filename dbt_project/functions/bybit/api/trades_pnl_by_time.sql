with

trades as (
    select
        {{ trade_market() }} as market,
        (exit_time at time zone 'UTC')::date as exit_date,
        extract(hour from exit_time at time zone 'UTC')::integer as exit_hour,
        net_pnl,
        total_commission
    from {{ all_rows_of(ref('completed_trades')) }}
    where kind = 'trade'
),

sums as (
    select
        market,
        exit_date,
        exit_hour,
        grouping(exit_hour) = 1 as is_a_day,
        jsonb_build_object(
            'total_trades', count(*),
            'winning_trades', count(*) filter (where net_pnl > 0),
            'total_pnl', sum(net_pnl),
            'total_fees', sum(total_commission)
        ) as totals
    from trades
    group by grouping sets ((market, exit_date), (market, exit_hour))
),

markets as (
    select
        market,
        json_agg(
            jsonb_build_object('exit_date', exit_date) || totals order by exit_date
        ) filter (where is_a_day) as by_day,
        json_agg(
            jsonb_build_object('exit_hour', exit_hour) || totals order by exit_hour
        ) filter (where not is_a_day) as by_hour
    from sums
    group by market
)

select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'markets', coalesce(
            json_agg(json_build_object('market', market, 'days', by_day, 'hours', by_hour) order by market), '[]'
        )
    )
from markets
