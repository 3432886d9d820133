{# A hook: sets the policies of sql/row_level_security.sql on the model's table, where that file has been run. #}
{% macro protect_accounts() %}
    {% if var('row_level_security') and target.name == 'warehouse' %}
do $hook$ begin
    if to_regprocedure('accounts.protect(text)') is not null then
        perform accounts.protect('{{ this.schema }}.{{ this.identifier }}');
    end if;
end $hook$
    {% else %}
select 1
    {% endif %}
{% endmacro %}
