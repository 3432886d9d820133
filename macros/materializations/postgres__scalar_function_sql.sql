{#
    A function of `type: scalar` on Postgres. Beside what dbt does, `meta.language: plpgsql` takes the file as the body
    of a plpgsql function, `returns` may be `table (…)`, and a function whose result has other columns than before is
    dropped first, because Postgres replaces only what returns the same.

    If the comment on the function does not match this text, it is made again; otherwise nothing is changed, so that
    a build with nothing new leaves the plans that connections keep.
#}
{% macro postgres__scalar_function_sql(target_relation) %}
    {% set function = target_relation.include(database=false) %}
    {% set signature = function ~ '(' ~ model.arguments | map(attribute='data_type') | join(', ') ~ ')' %}
    {% set definition %}
        create or replace function {{ function }}({{ formatted_scalar_function_args_sql() }})
        returns {{ model.returns.data_type }}
        language {{ model.config.meta.get('language', 'sql') }} {{ scalar_function_volatility_sql() }}
        as $body$
        {{ model.compiled_code }}
        $body$;
    {% endset %}
    {% set comment = model.description ~ ' (' ~ local_md5(definition) ~ ')' %}
do $make$
begin
    -- two builds at once take turns
    perform pg_advisory_xact_lock(hashtextextended('{{ function }}', 0));
    if obj_description(to_regprocedure('{{ signature }}'), 'pg_proc') is distinct from {{ _literal(comment) }} then
        begin
            {{ definition }}
        exception when invalid_function_definition then
            drop function {{ signature }};
            {{ definition }}
        end;
        comment on function {{ signature }} is {{ _literal(comment) }};
    end if;
end
$make$
{% endmacro %}
