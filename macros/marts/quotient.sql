{#
    A quotient of NUMERICs, cut after 18 decimals. Postgres chooses the digits of a division by its operands; this is
    the same number whoever computes it.
#}
{% macro quotient(dividend, divisor) -%}
    trim_scale(div(({{ dividend }}) * 1000000000000000000, {{ divisor }}) * 0.000000000000000001)
{%- endmacro %}
