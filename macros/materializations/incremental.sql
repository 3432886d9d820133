{#
    Incremental models for Postgres. The strategy `upsert` is this project's; any other goes to dbt's own
    materialization.

    An upsert has to be cheap enough for a run every 30 seconds: no temporary table, one statement per increment, and
    only rows that differ are written.

    - First build: `create table as`, checked against the contract, then keys, indexes and comments in one go.
    - Increment: `select refresh.<model>()`, a function that the build stores in the warehouse and that anybody may
      call (see `_refresh_function`).
    - `--full-refresh` on a table that holds the contract: the same upsert over all rows, which also deletes what the
      model no longer returns. Grants, views on top, columns that others added and unchanged rows stay as they are.
    - `--full-refresh` on a table of another shape: rebuilt and swapped, in one transaction. Grants, dependent
      views and columns that others added are taken over.

    Its configs, except for dbt's own, stand under `meta`:

    `insert_only_columns` keep the values with which the row was inserted. If only these or `unchanged_columns` differ,
    the row stays as it is.

    A row for which `delete_when` holds is a tombstone: the target's row with that key is deleted.

    A model that `keeps_history` returns less than its table may hold: a full refresh then deletes by tombstones alone,
    and a rebuild takes along the rows the model does not return.

    `keep_newest_rows`, SQL of a number, is how many rows the table keeps, by its unique key.

    `partition_by_month` names the timestamp by whose month the table is partitioned. Such a table is never rebuilt.

    `series_key` names the columns of the key that tell series apart: rows of new series are inserted unseen.

    `refresh_settings` are the server's settings under which the model is planned and run.
#}
{% materialization incremental, adapter='postgres' %}
    {% if config.get('incremental_strategy') != 'upsert' %}
        {% do return(dbt.materialization_incremental_default()) %}
    {% endif %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='table') %}
    {% set contract = _upsert_contract() %}
    {% set function = _refresh_function(target, contract, pre_hooks, post_hooks) %}
    {% set grants = config.get('grants') %}
    {% set to_drop = none %}
    {% set dependents = [] %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {% set found = _lock_table(function) %}
    {% set partitioned = _upsert_config('partition_by_month') %}
    {% if partitioned and existing is none %}
        {% call statement('create_partitioned') %}
            {{ _create_partitioned_sql(target, contract) }}
        {% endcall %}
        {% set existing = target %}
    {% endif %}
    {% set state = _table_state(existing) if existing is not none and existing.is_table else none %}
    {% set drift = _contract_drift(contract, state) if state else none %}
    {% set rebuild = state is none or (should_full_refresh() and drift.misfits) %}
    {% if partitioned and rebuild %}
        {% do exceptions.raise_compiler_error(
            this ~ " does not fit the model's contract, and a partitioned table is not rebuilt in one go: change it by"
            ~ " hand, or drop it, and the next build makes it from staging"
        ) %}
    {% endif %}
    {# with `dbt build --empty` and `--sample` the model returns only part of its rows #}
    {% set is_whole = not flags.EMPTY and not flags.SAMPLE %}
    {% set increment = not rebuild and not should_full_refresh() and is_whole %}

    {% set leave_function = _refresh_function_sql(function, found) if is_whole else '' %}
    {% if increment %}
        {% do _adopt_new_columns(target, drift) %}
        {% call statement('main') %}
            {{ leave_function }}
            select {{ function.name }}();
            {{ _finish_sql(target, contract, state) }}
        {% endcall %}
    {% else %}
        {{ run_hooks(pre_hooks, inside_transaction=True) }}
        {% if rebuild %}
            {# the model may read its own table, so the table keeps its name while the model runs #}
            {% set rebuilt = target if existing is none else make_intermediate_relation(target) %}
            {% if existing is not none %}
                {% do drop_relation_if_exists(rebuilt) %}
            {% endif %}
            {% call statement('main') %}
                {{ leave_function }}
                {{ _local_settings(function) }}
                {{ _create_table_sql(rebuilt, sql) }}
            {% endcall %}
            {% do _require_contract(contract, _table_state(rebuilt)) %}
            {% if state %}
                {% do _take_over(rebuilt, existing, contract, state, drift.extra) %}
            {% endif %}
            {% if existing is not none %}
                {% set dependents = _saved_dependents(existing) %}
                {% set to_drop = make_backup_relation(target, existing.type) %}
                {% do drop_relation_if_exists(to_drop) %}
                {% do adapter.rename_relation(existing, to_drop) %}
                {% do adapter.rename_relation(rebuilt, target) %}
            {% endif %}
            {% call statement('finish_table') %}
                {{ _finish_sql(target, contract, none) }}
            {% endcall %}
        {% else %}
            {% do _adopt_new_columns(target, drift) %}
            {% call statement('main') %}
                {{ leave_function }}
                {{ _local_settings(function) }}
                {{ _block(contract, _upsert_sql(target, sql, contract, everything=should_full_refresh())) }};
                {{ _finish_sql(target, contract, state) }}
            {% endcall %}
        {% endif %}
    {% endif %}

    {% do apply_grants(target, grants, should_revoke=should_revoke(existing, rebuild)) %}

    {% if not increment %}
        {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% endif %}
    {% if to_drop is not none %}
        {% do _restore_dependents(dependents) %}
        {# not by cascade: any other dependent, such as a function, raises an error #}
        {% call statement('drop_replaced') %}
            drop {{ to_drop.type | replace('_', ' ') }} {{ to_drop }}
        {% endcall %}
    {% endif %}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target]}) }}
{% endmaterialization %}
