{#
    The upsert as the statements of a plpgsql block, which need the declarations of `_upsert_variables`. They set
    `upsert_rows` to the number of rows inserted, updated and deleted.

    `everything` says that the model's rows are the whole table: then rows that it does not return are deleted too,
    unless the model is `keeps_history`. The model runs once; rows that equal the target's are left out before the
    insert, so that an unchanged row is neither rewritten nor locked.

    In a partitioned table each of those lookups would cost as much as there are partitions (60 µs with 200). There the
    insert alone finds its row, and the model has to leave out what is the same. Where it has no
    row of any incoming series (`series_key`), all are inserted without looking for them: a third of the work.

    Rows are deleted in a statement of their own, and by literal keys where the key is one column: with a join
    TimescaleDB decompresses the whole table, and in one statement with the insert it may not see the rows.
#}
{% macro _upsert_sql(target, sql, contract, everything=false) %}
    {% set names = contract.columns | map(attribute='name') | list %}
    {% set unique_key = contract.unique_key %}
    {% set written = names | reject('in', unique_key + _upsert_config('insert_only_columns', [])) | list %}
    {% set compared = written | reject('in', _upsert_config('unchanged_columns', [])) | list %}
    {% set delete_when = _upsert_config('delete_when') %}
    {% set surplus = everything and not _upsert_config('keeps_history') %}
    {% set deletes = delete_when or surplus %}
    {% set key = adapter.quote(unique_key[0]) %}
    {% set partitioned = _upsert_config('partition_by_month') %}
    {% set series_key = [] if surplus else _upsert_config('series_key', []) %}
    {% if series_key %}
    if not exists (
        select
        from (
            select distinct {{ _quoted(series_key) }}
            from (
{{ sql }}
            ) as model
        ) as incoming
        cross join lateral (
            select
            from {{ target }} as target
            where {{ _same_key(series_key) }}
            limit 1
        ) as known
    ) then
        insert into {{ target }} ({{ _quoted(names) }})
        select {{ _quoted(names) }}
        from (
{{ _incoming_sql(sql, names, delete_when) }}
        ) as incoming
        {% if delete_when %}
        where not upsert_is_tombstone
        {% endif %}
        ;
        get diagnostics upsert_rows = row_count;
        upsert_added := upsert_rows;
    else
    {% endif %}
    with {{ 'incoming as materialized (' if surplus else 'differing as materialized (' }}
    {%- if not surplus %}
        {% if partitioned %}
        select *, false as upsert_is_there from (
{{ _incoming_sql(sql, names, delete_when) }}
        ) as incoming
        {% else %}
{{ _differing_sql(target, _incoming_sql(sql, names, delete_when), unique_key, compared, delete_when, few=true) }}
        {% endif %}
    {%- else %}
{{ _incoming_sql(sql, names, delete_when) }}
    ),

    differing as materialized (
{{ _differing_sql(target, 'select * from incoming', unique_key, compared, delete_when) }}
    {%- endif %}
    ),

    written as (
        insert into {{ target }} as target ({{ _quoted(names) }})
        select {{ _quoted(names) }}
        from differing
        {% if delete_when %}
        where not upsert_is_tombstone
        {% endif %}
        on conflict ({{ _quoted(unique_key) }}) do update
        set
        {% for name in written %}
            {{ adapter.quote(name) }} = excluded.{{ adapter.quote(name) }}{{ ',' if not loop.last }}
        {% endfor %}
        {% if partitioned %}
        where ({{ _quoted(compared, 'target.') }}) is distinct from ({{ _quoted(compared, 'excluded.') }})
        returning 1
        {% endif %}
    )

    {% if surplus %}
    , surplus as (
        select {{ _quoted(unique_key, 'target.') }}
        from {{ target }} as target
        where not exists (
            select
            from incoming
            where {{ _same_key(unique_key) }}{{ ' and not incoming.upsert_is_tombstone' if delete_when }}
        )
    )
    {% endif %}
    select
        {% if partitioned %}
        (select count(*) from written),
        {% else %}
        count(*){{ ' filter (where not upsert_is_tombstone)' if delete_when }},
        {% endif %}
        count(*) filter (where not upsert_is_there)
        {% for name in unique_key if deletes %}
        , {{ 'array(select ' ~ adapter.quote(name) ~ ' from surplus order by ' ~ _quoted(unique_key) ~ ')' if surplus
            else 'array_agg(' ~ adapter.quote(name) ~ ') filter (where upsert_is_tombstone)' }}
        {% endfor %}
    into
        upsert_rows,
        upsert_added
        {% for _ in unique_key if deletes %}
        , upsert_gone_{{ loop.index }}
        {% endfor %}
    from differing;
    {% if deletes %}

    if cardinality(upsert_gone_1) > 0 then
        {% if unique_key | length == 1 %}
        execute format('delete from {{ target }} where {{ key }} = any(%L)', upsert_gone_1);
        {% else %}
        delete from {{ target }} as target
        using unnest({% for _ in unique_key %}upsert_gone_{{ loop.index }}{{ ', ' if not loop.last }}{% endfor %})
            as incoming ({{ _quoted(unique_key) }})
        where {{ _same_key(unique_key) }};
        {% endif %}
        get diagnostics upsert_deleted = row_count;
        upsert_rows := upsert_rows + upsert_deleted;
    end if;
    {% endif %}
    {% if series_key %}
    end if;
    {% endif %}
{% endmacro %}

{# What `_upsert_sql` and `_prune_sql` keep between their statements. #}
{% macro _upsert_variables(contract) %}
    upsert_rows bigint := 0;
    upsert_added bigint := 0;
    upsert_deleted bigint;
    {% for name in contract.unique_key %}
    {% set column = contract.columns | selectattr('name', 'equalto', name) | first %}
    upsert_gone_{{ loop.index }} {{ column.type }}[];
    {% endfor %}
{%- endmacro %}

{# The model's rows, tombstones marked. #}
{% macro _incoming_sql(sql, names, delete_when) -%}
        select
            {{ _quoted(names) }}{% if delete_when %},
            ({{ delete_when }}) is true as upsert_is_tombstone{% endif %}

        from (
{{ sql }}
        ) as model
{%- endmacro %}

{# Of the incoming rows, those that change the target. `few` says that they are an increment: each is looked up by its
   key. Postgres may expect thousands, above all before the table's first ANALYZE, and would then hash the whole table
   for one row; `offset 0` prevents that. #}
{% macro _differing_sql(target, incoming, unique_key, compared, delete_when, few=false) -%}
        select
            incoming.*,
            target.{{ adapter.quote(unique_key[0]) }} is not null as upsert_is_there
        from (
{{ incoming }}
        ) as incoming
        {% if few %}
        left join lateral (
            select {{ _quoted(unique_key + compared) }}
            from {{ target }} as target
            where {{ _same_key(unique_key) }}
            offset 0
        ) as target on true
        {% else %}
        left join {{ target }} as target on {{ _same_key(unique_key) }}
        {% endif %}
        where case
            {% if delete_when %}
            when incoming.upsert_is_tombstone then target.{{ adapter.quote(unique_key[0]) }} is not null
            {% endif %}
            when target.{{ adapter.quote(unique_key[0]) }} is null then true
            else ({{ _quoted(compared, 'target.') }}) is distinct from ({{ _quoted(compared, 'incoming.') }})
        end
{%- endmacro %}

{% macro _same_key(unique_key) -%}
    {%- for name in unique_key -%}
        target.{{ adapter.quote(name) }} = incoming.{{ adapter.quote(name) }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
