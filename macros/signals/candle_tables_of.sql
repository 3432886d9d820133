{# The candle tables of a symbol that exist, as an item of FROM called candle_table: none if the project has no such symbol. #}
{% macro candle_tables_of(symbol) -%}
    (
        select
            listed.timeframe,
            listed.place,
            to_regclass(format('%I.%I', '{{ target.schema }}', {{ symbol }} || '_' || lower(listed.timeframe))) as relation
        from unnest(array['{{ var('timeframes') | join("', '") }}']) with ordinality as listed (timeframe, place)
        where {{ symbol }} in ('{{ var('symbols') | join("', '") }}')
    ) as candle_table
    where candle_table.relation is not null
{%- endmacro %}
