{#
    What the exchange says an order was sent for, by `execType`, `stopOrderType` and `createType`; `unknown` where it says
    nothing. Source: Bybit's v5 documentation, "Enums Definitions".
#}
{% macro exchange_reason(exec_type, stop_order_type, create_type) -%}
case
        when {{ exec_type }} = 'AdlTrade' then 'adl'
        when {{ exec_type }} = 'BustTrade' then 'liquidation'
        when {{ exec_type }} = 'Delivery' then 'delivery'
        when {{ exec_type }} = 'Settle' then 'settlement'
        when {{ exec_type }} in ('MovePosition', 'FutureSpread') then 'moved'
        when {{ create_type }} like 'CreateByAdl%' then 'adl'
        when {{ create_type }} like 'CreateByLiq%' or {{ create_type }} ilike 'CreateByTakeOver%' then 'liquidation'
        when {{ create_type }} = 'CreateBySettle' then 'settlement'
        when {{ stop_order_type }} in ('StopLoss', 'PartialStopLoss') then 'stop_loss'
        when {{ stop_order_type }} in ('TakeProfit', 'PartialTakeProfit') then 'take_profit'
        when {{ stop_order_type }} in ('TrailingStop', 'TrailingProfit') then 'trailing_stop'
        when {{ stop_order_type }} = 'tpslOrder' then 'tpsl'
        when {{ stop_order_type }} = 'OcoOrder' then 'oco'
        when {{ stop_order_type }} = 'BidirectionalTpslOrder' then 'bidirectional_tpsl'
        when {{ stop_order_type }} = 'MmRateClose' then 'margin_rate_close'
        when {{ create_type }} in ('CreateByStopLoss', 'CreateByPartialStopLoss') then 'stop_loss'
        when {{ create_type }} in ('CreateByTakeProfit', 'CreateByPartialTakeProfit') then 'take_profit'
        when {{ create_type }} in ('CreateByTrailingStop', 'CreateByTrailingProfit') then 'trailing_stop'
        when {{ create_type }} = 'CreateByMmRateClose' then 'margin_rate_close'
        when {{ create_type }} = 'CloseByFGridBot' then 'grid_bot_close'
        when {{ create_type }} = 'CloseByMartingaleBot' then 'martingale_bot_close'
        when {{ create_type }} in ('CreateByClosing', 'CreateByAdminClosing') then 'closing'
        when {{ create_type }} = 'CreateByStopOrder' or {{ stop_order_type }} = 'Stop' then 'stop_order'
        when {{ create_type }} = 'CreateByUser' then 'user'
        else 'unknown'
    end
{%- endmacro %}
