{# The statement that makes the table of the model's rows. #}
{% macro _create_table_sql(relation, sql) %}
    create table {{ relation }} as
    {% if _upsert_config('delete_when') %}
    select * from (
        {{ sql }}
    ) as model
    where ({{ _upsert_config('delete_when') }}) is not true
    {% else %}
    {{ sql }}
    {% endif %}
{% endmacro %}

{#
    A table partitioned by the month of a column, still without partitions: an empty one is made first and then filled by
    the upsert, because `create table as` makes no partitioned table. The model's hook makes the partitions.
#}
{% macro _create_partitioned_sql(relation, contract) %}
    create table {{ relation }} (
    {% for column in contract.columns %}
        {{ adapter.quote(column.name) }} {{ column.type }}{{ ',' if not loop.last }}
    {% endfor %}
    ) partition by range ({{ adapter.quote(_upsert_config('partition_by_month')) }});
    {{ _finish_sql(relation, contract, none) }}
{% endmacro %}

{# What a new table takes over from the one it replaces. #}
{% macro _take_over(rebuilt, old, contract, old_state, extra) %}
    {% if _upsert_config('keeps_history') %}
        {% do _take_history(rebuilt, old, contract, old_state) %}
    {% endif %}
    {% do _take_kept_values(rebuilt, old, contract, old_state) %}
    {% if extra %}
        {% do _take_extra_columns(rebuilt, old, contract, old_state, extra) %}
    {% endif %}
    {% do _take_grants(rebuilt, old) %}
{% endmacro %}

{# Columns that are not the model's, with their values. #}
{% macro _take_extra_columns(rebuilt, old, contract, old_state, extra) %}
    {% set keys = [] %}
    {% for column in contract.columns if column.name in contract.unique_key and column.name in old_state.columns %}
        {% set name = adapter.quote(column.name) %}
        {% do keys.append('cast(old.' ~ name ~ ' as ' ~ column.type ~ ') = rebuilt.' ~ name) %}
    {% endfor %}
    {% call statement('take_extra_columns') %}
        alter table {{ rebuilt }}
        {% for name in extra %}
            add column {{ adapter.quote(name) }} {{ old_state.columns[name]['type'] }}{{ ',' if not loop.last }}
        {% endfor %};
        {% if keys | length == contract.unique_key | length %}
        update {{ rebuilt }} as rebuilt
        set {% for name in extra %}{{ adapter.quote(name) }} = old.{{ adapter.quote(name) }}{{ ', ' if not loop.last }}{% endfor %}

        from {{ old }} as old
        where {{ keys | join(' and ') }}
        {% endif %}
    {% endcall %}
{% endmacro %}

{# The grants of the old table and of its columns, in place of those that default privileges have just given. #}
{% macro _take_grants(rebuilt, old) %}
    {% call statement('take_grants') %}
        do $take_grants$
        declare
            change text;
        begin
            for change in
                with

                grants as (
                    select
                        pg_class.oid,
                        acl.privilege_type || column_name as privilege,
                        case acl.grantee when 0 then 'public' else acl.grantee::regrole::text end as grantee,
                        case when acl.is_grantable then ' with grant option' else '' end as options
                    from pg_class
                    cross join lateral (
                        select relacl as acl, '' as column_name
                        union all
                        select attacl, format(' (%I)', attname)
                        from pg_attribute
                        where attrelid = pg_class.oid
                            and attname in (
                                select attname from pg_attribute where attrelid = {{ _literal(rebuilt | string) }}::regclass
                            )
                    ) as lists
                    cross join lateral aclexplode(lists.acl) as acl
                    where acl.grantee <> relowner
                )

                select format('revoke all on {{ rebuilt }} from %s', grantee)
                from grants
                where oid = {{ _literal(rebuilt | string) }}::regclass
                union all
                select format('grant %s on {{ rebuilt }} to %s%s', privilege, grantee, options)
                from grants
                where oid = {{ _literal(old | string) }}::regclass
            loop
                execute change;
            end loop;
        end
        $take_grants$
    {% endcall %}
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

{#
    What a rebuild keeps of each old row: `insert_only_columns`, and `unchanged_columns` if all compared columns are the
    same. If a compared column is new or of another type, every row has changed.
#}
{% macro _take_kept_values(rebuilt, old, contract, old_state) %}
    {% set insert_only = _upsert_config('insert_only_columns', []) %}
    {% set unchanged = _upsert_config('unchanged_columns', []) | reject('in', insert_only) | list %}
    {% set same = [] %}
    {% for column in contract.columns if column.name in old_state.columns %}
        {% if _same_type(old_state.columns[column.name]['type'], column.type) %}
            {% do same.append(column.name) %}
        {% endif %}
    {% endfor %}
    {% set compared = contract.columns | map(attribute='name') | reject('in', insert_only + unchanged) | list %}
    {% set comparable = not compared | reject('in', same) | list %}
    {% set kept = insert_only + (unchanged if comparable else []) %}
    {% set is_same = '(' ~ _quoted(compared, 'old.') ~ ') is not distinct from (' ~ _quoted(compared, 'rebuilt.') ~ ')' %}
    {% set values = [] %}
    {% for name in kept if name in same %}
        {% set value = 'old.' ~ adapter.quote(name) %}
        {% if name in unchanged %}
            {% set value = 'case when ' ~ is_same ~ ' then ' ~ value ~ ' else rebuilt.' ~ adapter.quote(name) ~ ' end' %}
        {% endif %}
        {% do values.append(adapter.quote(name) ~ ' = ' ~ value) %}
    {% endfor %}
    {% if values and not contract.unique_key | reject('in', same) | list %}
        {% call statement('take_kept_values') %}
            update {{ rebuilt }} as rebuilt
            set {{ values | join(', ') }}
            from {{ old }} as old
            where ({{ _quoted(contract.unique_key, 'old.') }}) = ({{ _quoted(contract.unique_key, 'rebuilt.') }})
        {% endcall %}
    {% endif %}
{% endmacro %}
