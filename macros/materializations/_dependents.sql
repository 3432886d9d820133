{#
    What depends on a relation: its views and materialized views, and theirs in turn, as they are now. Read it before
    the relation is renamed or dropped; `_restore_dependents` makes all of it again on the relation that then has the
    name.

    Returns a list, a view before those that depend on it: {name, kind, is_model, create, details: [statements]}.
    `details` are owner, comments, indexes, triggers, rules and grants. With `itself`, a view's own entry comes first.
    Raises an error if one belongs to a role that this one cannot act for, because it could not be made again.
#}
{% macro _saved_dependents(relation, itself=false) %}
    {# one build at a time: two relations may share dependents, which both builds would drop and make again #}
    {% do run_query("select pg_advisory_xact_lock(hashtextextended('tradehouse dependents', 0))") %}
    {% set models = [] %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' %}
        {% do models.append([node.schema, node.alias]) %}
    {% endfor %}
    {% set saved = [] %}
    {% for row in run_query(_dependents_sql(relation, itself)) %}
        {% set dependent = fromjson(row['dependent']) %}
        {% if not dependent.may_restore %}
            {% do exceptions.raise_compiler_error(
                relation ~ ' has to be made again, and ' ~ dependent.name ~ ' stands on it. That one belongs to '
                ~ dependent.owner ~ ', for whom this role cannot act: drop it first, or grant ' ~ dependent.owner
                ~ ' to this role'
            ) %}
        {% endif %}
        {% do dependent.update({'is_model': [dependent.schema, dependent.identifier] in models}) %}
        {% do saved.append(dependent) %}
    {% endfor %}
    {% do return(saved) %}
{% endmacro %}

{# Drop what was saved, the last first. Not by cascade: any other dependent, such as a function, raises an error. #}
{% macro _drop_dependents(saved) %}
    {% if saved %}
        {% call statement('drop_dependents') %}
            {% for dependent in saved | reverse %}
            drop {{ dependent.kind }} if exists {{ dependent.name }};
            {% endfor %}
        {% endcall %}
    {% endif %}
{% endmacro %}

{#
    Make again what was saved, in this transaction. A view that does not fit the relation's new shape stops the
    build, unless it is a model of this project: then a warning says so, and its own build makes it again.
#}
{% macro _restore_dependents(saved) %}
    {% do _drop_dependents(saved | selectattr('create') | list) %}
    {% if saved %}
        {% call statement('restore_dependents') %}
            select set_config('tradehouse.not_restored', '', true);
            {{ _restore_dependents_sql(saved) }}
        {% endcall %}
        {% set not_restored = run_query("select current_setting('tradehouse.not_restored') as views")[0]['views'] %}
        {% if not_restored %}
            {% do exceptions.warn(
                this ~ ' has a new shape that does not fit the views on it; they are missing until dbt builds them: '
                ~ not_restored
            ) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{% macro _restore_dependents_sql(saved) %}
do $tradehouse_restore$
declare
    dependent jsonb;
    detail text;
    grantee text;
begin
    for dependent in select value from jsonb_array_elements({{ _literal(tojson(saved)) }}::jsonb) loop
        begin
            if dependent ->> 'create' is not null then
                execute dependent ->> 'create';
            end if;
            -- default privileges have just granted rights that may have been revoked before
            for grantee in
                select distinct case acl.grantee when 0 then 'public' else acl.grantee::regrole::text end
                from pg_class cross join aclexplode(pg_class.relacl) as acl
                where pg_class.oid = (dependent ->> 'name')::regclass and acl.grantee <> pg_class.relowner
            loop
                execute format('revoke all on %s from %s', dependent ->> 'name', grantee);
            end loop;
            for detail in select value from jsonb_array_elements_text(dependent -> 'details') loop
                begin
                    execute detail;
                exception when undefined_column then
                    null; -- a comment or a grant on a column that the view no longer has
                end;
            end loop;
        exception when others then
            if not (dependent ->> 'is_model')::boolean then
                raise exception '% cannot be made again on the new shape: %. Change or drop it first',
                    dependent ->> 'name', sqlerrm;
            end if;
            perform set_config(
                'tradehouse.not_restored',
                concat_ws('; ', nullif(current_setting('tradehouse.not_restored'), ''),
                    (dependent ->> 'name') || ' (' || sqlerrm || ')'),
                true
            );
        end;
    end loop;
end
$tradehouse_restore$
{% endmacro %}

{% macro _dependents_sql(relation, itself) %}
with recursive standing as (
    select to_regclass({{ _literal(relation | string) }})::oid as oid, 0 as depth
    union
    select rule.ev_class, standing.depth + 1
    from standing
    inner join pg_depend as dependency
        on dependency.refclassid = 'pg_class'::regclass and dependency.refobjid = standing.oid
            and dependency.classid = 'pg_rewrite'::regclass
    inner join pg_rewrite as rule on rule.oid = dependency.objid and rule.ev_class <> standing.oid
),

views as (
    select
        class.*,
        depth,
        space.nspname,
        format('%I.%I', space.nspname, class.relname) as name,
        case class.relkind when 'm' then 'materialized view' else 'view' end as kind
    from (select oid, max(depth) as depth from standing group by oid) as deepest
    inner join pg_class as class using (oid)
    inner join pg_namespace as space on space.oid = class.relnamespace
    where class.relkind in ('v', 'm') and depth >= {{ 0 if itself else 1 }} and class.relpersistence <> 't'
)

select json_build_object(
    'name', name,
    'schema', nspname,
    'identifier', relname,
    'kind', kind,
    'owner', relowner::regrole,
    'may_restore', pg_has_role(relowner, 'member'),
    'create', format(
        'create %s %s %s as %s %s', kind, name, 'with (' || nullif(array_to_string(reloptions, ', '), '') || ')',
        rtrim(pg_get_viewdef(oid), ';'), case when relkind = 'm' and not relispopulated then 'with no data' end
    ),
    'details', array(
        select detail from (
            select 1 as place, format('alter %s %s owner to %s', kind, name, relowner::regrole) as detail
            where relowner <> to_regrole(quote_ident(current_user))
            union all
            select 2, format('comment on %s %s is %L', kind, name, obj_description(views.oid, 'pg_class'))
            where obj_description(views.oid, 'pg_class') is not null
            union all
            select 3, format('comment on column %s.%I is %L', name, attname, col_description(views.oid, attnum))
            from pg_attribute where attrelid = views.oid and col_description(views.oid, attnum) is not null
            union all
            select 4, pg_get_indexdef(indexrelid) from pg_index where indrelid = views.oid
            union all
            select 5, pg_get_triggerdef(trigger.oid) from pg_trigger as trigger
            where trigger.tgrelid = views.oid and not trigger.tgisinternal
            union all
            select 6, pg_get_ruledef(rule.oid) from pg_rewrite as rule
            where rule.ev_class = views.oid and rule.rulename <> '_RETURN'
            union all
            select 7, {{ _grant_sql('') }}
            from aclexplode(views.relacl) as acl where acl.grantee <> views.relowner
            union all
            select 8, {{ _grant_sql("format('(%I) ', attname) || ") }}
            from pg_attribute cross join aclexplode(attacl) as acl
            where attrelid = views.oid and acl.grantee <> views.relowner
        ) as details order by place
    )
)::text as dependent
from views
order by depth, oid
{% endmacro %}

{% macro _grant_sql(columns) -%}
    format(
        'grant %s %son %s to %s%s', acl.privilege_type, {{ columns }}'', name,
        case acl.grantee when 0 then 'public' else acl.grantee::regrole::text end,
        case when acl.is_grantable then ' with grant option' end
    )
{%- endmacro %}
