{#
    The market of a completed trade. Sums need one currency: linear contracts settle in dollar coins and are added up; so
    are spot pairs of one quote currency, and options of one settlement currency. An inverse contract pays in its coin and
    is a market of its own.
#}
{% macro trade_market(relation=none) -%}
{%- set of = relation ~ '.' if relation else '' -%}
case {{ of }}category
        when 'linear' then 'linear'
        when 'spot'
            then 'spot ' || coalesce(substring({{ of }}symbol from '.(USDT|USDC|USDE|USD|EUR|BRL|PLN|TRY|DAI|BTC|ETH|MNT)$'), {{ of }}symbol)
        when 'option' then 'option ' || case when {{ of }}symbol like '%-USDT' then 'USDT' else 'USDC' end
        else {{ of }}category || ' ' || {{ of }}symbol
    end
{%- endmacro %}
