{# Condition on a bar `rejects`: neither it nor any other bar of its minute is usable. #}
{% macro alone_with_rejects() -%}
not rejects.is_usable
        and not exists (
            select
            from bars as others
            where others.timestamp >= rejects.epoch_minute * 60
                and others.timestamp < rejects.epoch_minute * 60 + 60
                and others.is_usable
        )
{%- endmacro %}
