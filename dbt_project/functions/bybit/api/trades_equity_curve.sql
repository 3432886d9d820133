with

exits as (
    select
        {{ trade_market() }} as market,
        exit_time,
        sum(net_pnl) as net_pnl
    from {{ all_rows_of(ref('completed_trades')) }}
    where kind = 'trade'
    group by market, exit_time
),

points as (
    select
        *,
        sum(net_pnl) over (partition by market order by exit_time) as cumulative_pnl
    from exits
),

curves as (
    select
        market,
        json_agg(
            json_build_object(
                'time', {{ iso_text('exit_time') }},
                'net_pnl', net_pnl,
                'cumulative_pnl', cumulative_pnl
            ) order by exit_time
        ) as points
    from points
    group by market
)

select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'curves', coalesce(json_agg(json_build_object('market', market, 'points', points) order by market), '[]')
    )
from curves
