{#
    Columns: measures of a group of trades, those named, in that order. The columns of a trade that they read are net_pnl,
    total_commission, holding_duration_seconds and pnl_pct.
#}
{% macro trade_measures(names) %}
{% set measures = {
    'total_trades': 'count(*)',
    'winning_trades': 'count(*) filter (where net_pnl > 0)',
    'losing_trades': 'count(*) filter (where net_pnl < 0)',
    'breakeven_trades': 'count(*) filter (where net_pnl = 0)',
    'win_rate_pct': 'round(100.0 * count(*) filter (where net_pnl > 0) / count(*), 2)',
    'net_pnl': 'sum(net_pnl)',
    'total_pnl': 'sum(net_pnl)',
    'average_pnl': 'avg(net_pnl)',
    'max_win': 'max(net_pnl) filter (where net_pnl > 0)',
    'max_loss': 'min(net_pnl) filter (where net_pnl < 0)',
    'total_fees': 'sum(total_commission)',
    'average_holding_seconds': 'avg(holding_duration_seconds)',
    'average_pnl_pct': 'avg(pnl_pct)',
} %}
{% for name in names %}
    {% if name not in measures %}
        {% do exceptions.raise_compiler_error(
            "trade_measures(): there is no '" ~ name ~ "'; there are " ~ measures | join(', ')
        ) %}
    {% endif %}
        {{ measures[name] }} as {{ name }}{{ ',' if not loop.last }}
{% endfor %}
{% endmacro %}
