{# `buy` or `sell` of a JSON object's `type`: in words, or as the terminal's 0 and 1; anything else as it came. #}
{% macro position_side(payload) -%}
    case {{ payload }} ->> 'type'
        when '0' then 'buy'
        when '1' then 'sell'
        else regexp_replace(lower({{ payload }} ->> 'type'), '^(deal|position)_type_', '')
    end
{%- endmacro %}
