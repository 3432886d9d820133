{#
    What one unit of a coin is worth in the currency of an execution's profit; NULL where no price is known. That currency
    is the coin of an inverse contract, else the quote currency. `dollars` is the coin's price in dollars on the day.
#}
{% macro coin_value(coin, category, symbol, price, dollars) -%}
case
        when {{ coin }} is null then 1
        when starts_with({{ symbol }}, {{ coin }}) then case when {{ category }} = 'inverse' then 1 else {{ price }} end
        when right({{ symbol }}, length({{ coin }})) = {{ coin }} then 1
        -- linear contracts settle in a dollar coin that the symbol need not name (BTCPERP)
        when {{ category }} in ('linear', 'option') and {{ coin }} in ('USDT', 'USDC', 'USD') then 1
        when {{ category }} = 'inverse' then
            case when {{ price }} > 0 then {{ quotient(dollars, price) }} end
        when {{ category }} in ('linear', 'option') or {{ symbol }} ~ '(USDT|USDC|USD)$' then {{ dollars }}
    end
{%- endmacro %}
