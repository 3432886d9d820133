{#
    What a function of `type: aggregate` is on Postgres, for which dbt has nothing: an aggregate whose step is the text
    of the file, the body of a plpgsql function. `step` is the row the step before returned (NULL at first), and the
    function's arguments go by their names. The row's columns stand under `meta.step`, its type is named by `returns`.

    If the comment on the aggregate does not match this text, all three are made again in one transaction; otherwise
    nothing is changed. A query that uses them at that moment fails and works the next time.
#}
{% macro postgres__aggregate_function_sql(target_relation) %}
    {% set columns = model.config.meta.get('step') %}
    {% if not columns %}
        {% do exceptions.raise_compiler_error(
            "function " ~ model.name ~ ": meta.step is " ~ columns
            ~ "; it has to list the columns of a step, each with name and data_type"
        ) %}
    {% endif %}
    {% set aggregate = target_relation.include(database=false) %}
    {% set step = aggregate.incorporate(path={'identifier': model.returns.data_type}) %}
    {% set next = aggregate.incorporate(path={'identifier': model.name ~ '_next'}) %}
    {% set types = model.arguments | map(attribute='data_type') | join(', ') %}
    {% set definition %}
        create type {{ step }} as (
            {% for column in columns %}
            {{ column.name }} {{ column.data_type }}{{ ',' if not loop.last }}
            {% endfor %}
        );
        create function {{ next }}(step {{ step }}, {{ formatted_scalar_function_args_sql() }}) returns {{ step }}
        language plpgsql {{ scalar_function_volatility_sql() }}
        as $step$
        {{ model.compiled_code }}
        $step$;
        create aggregate {{ aggregate }}({{ types }}) (sfunc = {{ next }}, stype = {{ step }});
    {% endset %}
    {% set comment = model.description ~ ' (' ~ local_md5(definition) ~ ')' %}
do $make$
begin
    -- two builds at once take turns
    perform pg_advisory_xact_lock(hashtextextended('{{ aggregate }}', 0));
    if obj_description(to_regprocedure('{{ aggregate }}({{ types }})'), 'pg_proc') is distinct from {{ _literal(comment) }} then
        drop type if exists {{ step }} cascade;
        {{ definition }}
        comment on aggregate {{ aggregate }}({{ types }}) is {{ _literal(comment) }};
    end if;
end
$make$
{% endmacro %}
