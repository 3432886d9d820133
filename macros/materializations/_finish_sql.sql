{# Add the columns the contract gained; rows that are there already hold NULL in them. #}
{% macro _adopt_new_columns(target, drift) %}
    {% if drift.added %}
        {% do exceptions.warn(
            target ~ ' gains ' ~ drift.added | map(attribute='name') | join(', ')
            ~ ', NULL in the rows it has: --full-refresh fills them'
        ) %}
        {% call statement('adopt_new_columns') %}
            alter table {{ target }}
            {% for column in drift.added %}
                add column {{ adapter.quote(column.name) }} {{ column.type }}{{ ',' if not loop.last }}
            {% endfor %}
        {% endcall %}
    {% endif %}
{% endmacro %}

{#
    Keys and indexes of a table just made (`state` is none), and `persist_docs` at a lower cost: comments are
    written only if they differ, because each one is a new catalog row. Returns statements, or nothing.
#}
{% macro _finish_sql(target, contract, state) %}
    {% set statements = [] %}
    {% if state is none %}
        {% set keys = ['add primary key (' ~ _quoted(contract.unique_key) ~ ')'] %}
        {% for column in contract.columns if column.not_null %}
            {% do keys.append('alter column ' ~ adapter.quote(column.name) ~ ' set not null') %}
        {% endfor %}
        {% do statements.append('alter table ' ~ target ~ ' ' ~ keys | join(', ')) %}
        {% for index in config.get('indexes', default=[]) %}
            {% do statements.append(get_create_index_sql(target, index)) %}
        {% endfor %}
    {% endif %}
    {% do statements.extend(_comments('table', target, model.columns.values(), state)) %}
    {% if _upsert_config('keep_newest_rows') %}
        {# the function prunes only if the table has grown, but the cap may have become smaller #}
        {% do statements.append(_block(contract, _prune_sql(target, contract))) %}
    {% endif %}
    {% do return(statements | join(';\n')) %}
{% endmacro %}

{#
    `persist_docs` as a list of statements: the comments on a table or view and on `columns` that differ from those in
    `state`, or all if it is none. Each comment written is a new catalog row and a lock.
#}
{% macro _comments(kind, target, columns, state) %}
    {% set statements = [] %}
    {% if config.persist_relation_docs() and (state is none or state.description != model.description) %}
        {% do statements.append('comment on ' ~ kind ~ ' ' ~ target ~ ' is ' ~ _literal(model.description)) %}
    {% endif %}
    {% for column in columns if config.persist_column_docs() %}
        {% set known = state.columns.get(column.name) if state else none %}
        {% if known is none or known['description'] != column.description %}
            {% do statements.append(
                'comment on column ' ~ target ~ '.' ~ adapter.quote(column.name) ~ ' is ' ~ _literal(column.description)
            ) %}
        {% endif %}
    {% endfor %}
    {% do return(statements) %}
{% endmacro %}
