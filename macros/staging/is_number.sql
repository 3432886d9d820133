{#
    Condition: the column holds a number the terminal computed. False for MetaTrader's EMPTY_VALUE
    (DBL_MAX, 1.7976931348623157e308), for infinities and for NaN, which Postgres sorts above infinity.
#}
{% macro is_number(column) -%}
    ({{ column }} > '-infinity' and {{ column }} < '1.7976931348623157e308'::double precision)
{%- endmacro %}
