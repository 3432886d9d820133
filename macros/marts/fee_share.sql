{#
    The share of a fill's fee for the quantity between two points of the fill, in proportion. It is the difference of
    two running totals, the last of which is the fee itself. So the shares of a fill sum to its fee to the last digit,
    wherever it is cut, and no share depends on the other cuts.
#}
{% macro fee_share(fee, quantity, from_quantity, to_quantity) -%}
    (
        case
            when {{ to_quantity }} = {{ quantity }} then {{ fee }}
            else {{ quotient(fee ~ ' * (' ~ to_quantity ~ ')', quantity) }}
        end - {{ quotient(fee ~ ' * (' ~ from_quantity ~ ')', quantity) }}
    )
{%- endmacro %}
