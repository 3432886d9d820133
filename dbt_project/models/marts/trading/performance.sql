with

results as (
    select
        'trades' as basis,
        bot_id,
        account_uid,
        {{ trade_market() }} as market,
        entry_time as opened_at,
        exit_time as closed_at,
        trade_id as place,
        net_pnl,
        total_commission
    from {{ ref('completed_trades') }}
    where kind = 'trade'
    union all
    select
        'positions' as basis,
        bot_id,
        account_uid,
        market,
        opened_at,
        closed_at,
        concat_ws(':', symbol, position_side, position_number) as place,
        net_pnl,
        total_commission
    from {{ ref('positions') }}
    where kind = 'trade'
),

{{ performance_of(results='results', keys=['basis', 'bot_id', 'account_uid', 'market']) }}

select * from performance
