{#
    What the catalog says of an existing table, in one query:
    {columns: {name: {type, not_null, in_primary_key, description}}, description}.
#}
{% macro _table_state(relation) %}
    {% set rows = run_query(
        "select
            a.attname as name,
            format_type(a.atttypid, a.atttypmod) as type,
            a.attnotnull as not_null,
            coalesce(a.attnum = any(
                (select indkey from pg_index where indrelid = a.attrelid and indisprimary)::smallint[]
            ), false) as in_primary_key,
            coalesce(on_column.description, '') as description,
            coalesce(on_table.description, '') as table_description
        from pg_attribute as a
        left join pg_description as on_column
            on on_column.objoid = a.attrelid and on_column.objsubid = a.attnum
                and on_column.classoid = 'pg_class'::regclass
        left join pg_description as on_table
            on on_table.objoid = a.attrelid and on_table.objsubid = 0 and on_table.classoid = 'pg_class'::regclass
        where a.attrelid = '" ~ relation ~ "'::regclass and a.attnum > 0 and not a.attisdropped"
    ) %}
    {% set columns = {} %}
    {% for row in rows %}
        {% do columns.update({row['name']: row}) %}
    {% endfor %}
    {% do return({'columns': columns, 'description': rows[0]['table_description'] if rows else ''}) %}
{% endmacro %}

{#
    How the table differs from the contract: {added: [contract columns it lacks], any: bool}. Raises where the
    difference cannot be bridged without a rebuild, unless a full refresh was asked for.
#}
{% macro _contract_drift(contract, state) %}
    {% set added = [] %}
    {% set problems = [] %}
    {% for column in contract.columns %}
        {% if column.name not in state.columns %}
            {% do added.append(column) %}
            {% if column.not_null or config.get('on_schema_change') == 'fail' %}
                {% do problems.append('it lacks column ' ~ column.name ~ ' ' ~ column.type) %}
            {% endif %}
        {% elif not _same_type(state.columns[column.name]['type'], column.type) %}
            {% do problems.append(
                'column ' ~ column.name ~ ' is ' ~ state.columns[column.name]['type']
                ~ ', the contract says ' ~ column.type
            ) %}
        {% elif column.not_null and not state.columns[column.name]['not_null'] %}
            {% do problems.append('column ' ~ column.name ~ ' may be null, the contract says not null') %}
        {% endif %}
    {% endfor %}
    {% set primary_key = state.columns.values() | selectattr('in_primary_key') | map(attribute='name') | list %}
    {% if primary_key | sort != contract.unique_key | sort %}
        {% do problems.append(
            'its primary key is (' ~ primary_key | join(', ') ~ '), the contract says ('
            ~ contract.unique_key | join(', ') ~ ')'
        ) %}
    {% endif %}
    {% if problems and not should_full_refresh() %}
        {% do exceptions.raise_compiler_error(
            this ~ " does not fit the model's contract: " ~ problems | join('; ')
            ~ ". Rebuild it with --full-refresh, or change the contract."
        ) %}
    {% endif %}
    {% set surplus = state.columns.keys() | reject('in', contract.columns | map(attribute='name') | list) | list %}
    {% do return({'added': added, 'any': (added or problems or surplus) | length > 0}) %}
{% endmacro %}

{# Raise where a table just made by the model is not what the contract says, by names and types. #}
{% macro _require_contract(contract, made) %}
    {% set names = contract.columns | map(attribute='name') | list %}
    {% set problems = [] %}
    {% for column in contract.columns %}
        {% set found = made.columns.get(column.name) %}
        {% if found is none %}
            {% do problems.append('it returns no column ' ~ column.name) %}
        {% elif not _same_type(found['type'], column.type) %}
            {% do problems.append(
                'it returns ' ~ column.name ~ ' as ' ~ found['type'] ~ ', the contract says ' ~ column.type
            ) %}
        {% endif %}
    {% endfor %}
    {% for name in made.columns.keys() | reject('in', names) %}
        {% do problems.append('it returns column ' ~ name ~ ', which the contract does not know') %}
    {% endfor %}
    {% if problems %}
        {% do exceptions.raise_compiler_error(this ~ ' breaks its contract: ' ~ problems | join('; ')) %}
    {% endif %}
{% endmacro %}

{# Whether a catalog type and a contract's spelling of a type are the same, by the usual aliases. #}
{% macro _same_type(catalog_type, contract_type) %}
    {% set aliases = {
        'timestamptz': 'timestamp with time zone',
        'timestamp': 'timestamp without time zone',
        'int': 'integer',
        'int2': 'smallint',
        'int4': 'integer',
        'int8': 'bigint',
        'bool': 'boolean',
        'float4': 'real',
        'float8': 'double precision',
        'decimal': 'numeric',
        'char': 'character',
        'varchar': 'character varying',
    } %}
    {# varchar(20) is the name varchar and the length (20) #}
    {% set parts = contract_type | lower | replace(', ', ',') | trim %}
    {% set name, parenthesis, length = parts.partition('(') %}
    {% do return(aliases.get(name | trim, name | trim) ~ parenthesis ~ length == catalog_type) %}
{% endmacro %}

{# Copy the rows of the table being replaced that the model did not return, in the columns both have. #}
{% macro _take_history(rebuilt, old, contract, old_state) %}
    {% set unique_key = _quoted(contract.unique_key) %}
    {% set names = [] %}
    {% set values = [] %}
    {% for column in contract.columns if column.name in old_state.columns %}
        {% do names.append(column.name) %}
        {% do values.append('cast(' ~ adapter.quote(column.name) ~ ' as ' ~ column.type ~ ')') %}
    {% endfor %}
    {% call statement('take_history') %}
        insert into {{ rebuilt }} ({{ _quoted(names) }})
        select {{ values | join(', ') }}
        from {{ old }}
        where ({{ unique_key }}) not in (select {{ unique_key }} from {{ rebuilt }})
    {% endcall %}
{% endmacro %}

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
    Keys and indexes of a table just made (`state` is none), and `persist_docs` without its price: comments are
    written only where they differ, because each one is a new catalog row. All in one round trip.
#}
{% macro _finish_table(target, contract, state) %}
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
    {% if config.persist_relation_docs() and (state is none or state.description != model.description) %}
        {% do statements.append('comment on table ' ~ target ~ ' is ' ~ _literal(model.description)) %}
    {% endif %}
    {% if config.persist_column_docs() %}
        {% for column in model.columns.values() %}
            {% set known = state.columns.get(column.name) if state else none %}
            {% if known is none or known['description'] != column.description %}
                {% do statements.append(
                    'comment on column ' ~ target ~ '.' ~ adapter.quote(column.name)
                    ~ ' is ' ~ _literal(column.description)
                ) %}
            {% endif %}
        {% endfor %}
    {% endif %}
    {% if statements %}
        {% call statement('finish_table') %}
            {{ statements | join(';\n') }}
        {% endcall %}
    {% endif %}
{% endmacro %}

{# A string literal. #}
{% macro _literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}
