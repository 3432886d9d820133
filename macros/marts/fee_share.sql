{#
    The part of a fill's fee that falls on the quantity between two points of the fill, in proportion. It is the
    difference of two running totals, the last of which is the fee itself: the parts of a fill, wherever it is cut, sum
    to its fee to the last digit, and none of them depends on how the rest is cut.
#}
{% macro fee_share(fee, quantity, from_quantity, to_quantity) -%}
    (
        case
            when {{ to_quantity }} = {{ quantity }} then {{ fee }}
            else {{ quotient(fee ~ ' * (' ~ to_quantity ~ ')', quantity) }}
        end - {{ quotient(fee ~ ' * (' ~ from_quantity ~ ')', quantity) }}
    )
{%- endmacro %}
