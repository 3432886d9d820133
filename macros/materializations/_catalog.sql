{#
    What the catalog says about an existing table, in one query:
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
