{#
    The rows of an execution's `extraFees`, which is a list of {feeCoin, fee} as text: `commission` of each, in the
    currency of the profit, NULL where it can be neither read nor valued. A text that is no such list is one such row.
#}
{% macro extra_fees(text, category, symbol, price, exec_time) -%}
(
        select
            case when {{ is_decimal("item ->> 'fee'") }} then (item ->> 'fee')::numeric end
            * {{ coin_value("nullif(item ->> 'feeCoin', '')", category, symbol, price, 'prices.price') }} as commission
        from jsonb_array_elements(
            case
                when jsonb_typeof(staging.try_jsonb({{ text }})) = 'array' then staging.try_jsonb({{ text }})
                else '[null]'
            end
        ) as item
        left join {{ source('bybit', 'bybit_prices') }} as prices
            on item ->> 'feeCoin' = prices.coin and prices.day = ({{ exec_time }} at time zone 'UTC')::date
    )
{%- endmacro %}
