{#
    A subquery of the sum of an execution's `extraFees`, a list of {feeCoin, fee} as text, in the currency of the profit;
    NULL where one of them can be neither read nor valued, and of a text that is no such list.
#}
{% macro extra_fees(text, category, symbol, price, exec_time) -%}
(
        select
            case when bool_and(taxes.commission is not null) then sum(taxes.commission) end
        from (
        select
            case when {{ is_decimal("item ->> 'fee'") }} then (item ->> 'fee')::numeric end
            * {{ coin_value("nullif(item ->> 'feeCoin', '')", category, symbol, price, 'prices.price') }} as commission
        from jsonb_array_elements(
            case
                when jsonb_typeof(staging.try_jsonb({{ text }})) = 'array' then staging.try_jsonb({{ text }})
                else '[null]'
            end
        ) as item
        left join (select * from {{ source('bybit', 'bybit_prices') }}) as prices
            on item ->> 'feeCoin' = prices.coin and prices.day = ({{ exec_time }} at time zone 'UTC')::date
        ) as taxes
    )
{%- endmacro %}
