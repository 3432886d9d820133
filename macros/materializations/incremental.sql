{#
    dbt's incremental materialization for Postgres, made lean for a run every 30 seconds: no temporary table,
    one statement per increment, nothing touched that is not different.

    - First build: `create table as`, held against the contract, then keys, indexes and comments in one go.
    - Increment: `insert … on conflict (unique_key) do update … where … is distinct from …`.
    - `--full-refresh` on a table of the contract's shape: the same statement over all rows, which also deletes
      what the model no longer returns. Grants, views on top and unchanged rows stay as they are.
    - `--full-refresh` on a table of another shape: rebuilt and swapped, in one transaction. Views on top of it are
      dropped with the old one, so build them in the same run.

    A row for which `delete_when` holds is a tombstone: the target's row with that key is deleted.

    A model that `keeps_history` returns less than its table may hold: a full refresh then deletes by tombstones alone,
    and a rebuild takes along the rows the model does not return.

    The file an increment leaves in `target/run` is the whole increment, hooks included, and can be run again as it is.
#}
{% materialization incremental, adapter='postgres' %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='table') %}
    {% set contract = _upsert_contract() %}
    {% set grants = config.get('grants') %}
    {% set to_drop = none %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% set state = _table_state(existing) if existing is not none and existing.is_table else none %}
    {% set drift = _contract_drift(contract, state) if state else none %}
    {% set rebuild = state is none or (should_full_refresh() and drift.any) %}

    {% if rebuild %}
        {# the model may read its table, which therefore keeps its name as long as the model runs #}
        {% set rebuilt = target if existing is none else make_intermediate_relation(target) %}
        {% if existing is not none %}
            {% do drop_relation_if_exists(rebuilt) %}
        {% endif %}
        {% call statement('main') %}
            create table {{ rebuilt }} as
            {% if config.get('delete_when') %}
            select * from (
                {{ sql }}
            ) as model
            where ({{ config.get('delete_when') }}) is not true
            {% else %}
            {{ sql }}
            {% endif %}
        {% endcall %}
        {% do _require_contract(contract, _table_state(rebuilt)) %}
        {% if state and config.get('keeps_history') %}
            {% do _take_history(rebuilt, existing, contract, state) %}
        {% endif %}
        {% if existing is not none %}
            {% set to_drop = make_backup_relation(target, existing.type) %}
            {% do drop_relation_if_exists(to_drop) %}
            {% do adapter.rename_relation(existing, to_drop) %}
            {% do adapter.rename_relation(rebuilt, target) %}
        {% endif %}
        {% do _finish_table(target, contract, none) %}
    {% else %}
        {% do _adopt_new_columns(target, drift) %}
        {% call statement('main') %}
            {{ _upsert_sql(target, sql, contract, everything=should_full_refresh()) }}
        {% endcall %}
        {% do _finish_table(target, contract, state) %}
        {% if not should_full_refresh() %}
            {% do _write_increment(target, sql, contract, pre_hooks, post_hooks) %}
        {% endif %}
    {% endif %}

    {% do apply_grants(target, grants, should_revoke=should_revoke(existing, rebuild)) %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% if to_drop is not none %}
        {% do adapter.drop_relation(to_drop) %}
    {% endif %}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#
    What the materialization needs of the model, checked: the upsert strategy, an enforced contract, and a
    `unique_key` that is the contract's primary key.
    Returns {columns: [{name, type, not_null, description}], unique_key: [names]}.
#}
{% macro _upsert_contract() %}
    {% set strategy = config.get('incremental_strategy') %}
    {% set unique_key = config.get('unique_key') %}
    {% set unique_key = [unique_key] if unique_key is string else (unique_key or []) %}
    {% set on_schema_change = config.get('on_schema_change') %}
    {% if strategy != 'upsert' %}
        {% do exceptions.raise_compiler_error(
            "incremental_strategy is '" ~ strategy ~ "'; this project's incremental models know 'upsert' only"
        ) %}
    {% endif %}
    {% if on_schema_change not in ['append_new_columns', 'fail'] %}
        {% do exceptions.raise_compiler_error(
            "on_schema_change is '" ~ on_schema_change ~ "'; allowed are append_new_columns, fail"
        ) %}
    {% endif %}
    {% if not config.get('contract').enforced %}
        {% do exceptions.raise_compiler_error("the upsert strategy needs `contract: {enforced: true}`") %}
    {% endif %}

    {% set primary_key = [] %}
    {% set constraint_types = model.constraints | map(attribute='type') | list %}
    {% for constraint in model.constraints if constraint.type == 'primary_key' %}
        {% do primary_key.extend(constraint.columns) %}
    {% endfor %}
    {% set columns = [] %}
    {% for column in model.columns.values() %}
        {% set types = column.constraints | map(attribute='type') | list %}
        {% do constraint_types.extend(types) %}
        {% if 'primary_key' in types %}
            {% do primary_key.append(column.name) %}
        {% endif %}
        {% do columns.append({
            'name': column.name,
            'type': column.data_type,
            'not_null': 'not_null' in types,
            'description': column.description,
        }) %}
    {% endfor %}
    {% if not unique_key or unique_key | sort != primary_key | sort %}
        {% do exceptions.raise_compiler_error(
            "unique_key is " ~ unique_key ~ " and the contract's primary key " ~ primary_key
            ~ "; the upsert strategy needs them to be the same columns"
        ) %}
    {% endif %}
    {% for type in constraint_types if type not in ['primary_key', 'not_null'] %}
        {% do exceptions.raise_compiler_error(
            "the contract has a constraint of type '" ~ type ~ "'; known are primary_key, not_null"
        ) %}
    {% endfor %}
    {% if columns | length == unique_key | length %}
        {% do exceptions.raise_compiler_error("the upsert strategy needs a column beside the unique_key") %}
    {% endif %}
    {% do return({'columns': columns, 'unique_key': unique_key}) %}
{% endmacro %}
