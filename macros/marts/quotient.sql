{#
    A quotient of NUMERICs, cut after 18 decimals. The number of digits that Postgres gives depends on the operands, so
    without the cut the same quotient could differ.
#}
{% macro quotient(dividend, divisor) -%}
    trim_scale(div(({{ dividend }}) * 1000000000000000000, {{ divisor }}) * 0.000000000000000001)
{%- endmacro %}
