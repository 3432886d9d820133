with

trades as (
    select
        bot_id,
        account_uid,
        category,
        symbol,
        (exit_time at time zone 'UTC')::date as exit_date,
        net_pnl,
        total_commission,
        holding_duration_seconds,
        pnl_pct
    from {{ ref('completed_trades') }}
    where kind = 'trade'
),

funding as (
    select
        bot_id,
        account_uid,
        category,
        symbol,
        (exec_time at time zone 'UTC')::date as exit_date,
        -sum(amount_paid) as funding_pnl
    from {{ ref('funding_payments') }}
    group by 1, 2, 3, 4, 5
),

days as (
    select
        bot_id,
        account_uid,
        category,
        symbol,
        exit_date,
        {{ trade_measures([
            'total_trades', 'winning_trades', 'losing_trades', 'breakeven_trades', 'net_pnl', 'average_pnl', 'max_win',
            'max_loss', 'total_fees', 'average_holding_seconds', 'average_pnl_pct',
        ]) }}
    from trades
    group by 1, 2, 3, 4, 5
),

final as (
    select
        bot_id,
        account_uid,
        category,
        symbol,
        {{ trade_market() }} as market,
        exit_date,
        exit_date as trade_date,
        coalesce(days.total_trades, 0) as total_trades,
        coalesce(days.winning_trades, 0) as winning_trades,
        coalesce(days.losing_trades, 0) as losing_trades,
        coalesce(days.breakeven_trades, 0) as breakeven_trades,
        coalesce(days.net_pnl, 0) as net_pnl,
        coalesce(funding.funding_pnl, 0) as funding_pnl,
        coalesce(days.net_pnl, 0) + coalesce(funding.funding_pnl, 0) as total_pnl,
        days.average_pnl,
        days.max_win,
        days.max_loss,
        coalesce(days.total_fees, 0) as total_fees,
        days.average_holding_seconds,
        days.average_pnl_pct
    from days
    full join funding using (bot_id, account_uid, category, symbol, exit_date)
)

select * from final
