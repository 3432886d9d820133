{#
    Pre-hook: no nested loops in this transaction but those the SQL asks for by `lateral`. Before Postgres 18 these then
    count as immensely dear, which would start the JIT compiler: seconds for a query of milliseconds.
#}
{% macro plan_without_nested_loops() %}
select set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true)
{% endmacro %}
