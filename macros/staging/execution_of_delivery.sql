{#
    The payload of an execution. A record of `/v5/asset/delivery-record` becomes one: the option's position is closed by the
    other side at what the option paid, and its own fields stay.
#}
{% macro execution_of_delivery(payload) -%}
case
        when not {{ payload }} ? 'deliveryTime' then {{ payload }}
        else {{ payload }} || jsonb_build_object(
            'execType', 'Delivery',
            'side', case {{ payload }} ->> 'side' when 'Buy' then 'Sell' when 'Sell' then 'Buy' end,
            'execQty', {{ payload }} ->> 'position',
            'execFee', {{ payload }} ->> 'fee',
            'seq', 0,
            'execPrice',
            case
                when
                    {{ is_decimal(payload ~ " ->> 'deliveryPrice'") }}
                    and {{ is_decimal(payload ~ " ->> 'strike'") }}
                    and {{ payload }} ->> 'symbol' ~ '-[CP](-|$)'
                    then greatest(
                        0,
                        (({{ payload }} ->> 'deliveryPrice')::numeric - ({{ payload }} ->> 'strike')::numeric)
                        * case when {{ payload }} ->> 'symbol' ~ '-C(-|$)' then 1 else -1 end
                    )::text
            end
        )
    end
{%- endmacro %}
