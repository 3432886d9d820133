{#
    A moment of a JSON object under the first of some names that has one: Unix seconds up to 2100, or ISO 8601, which
    is UTC where it names no time zone. 0 is how the terminal says that there is none.
#}
{% macro json_moment(payload, names) -%}
    {%- set moments = [] -%}
    {%- for name in names -%}
        {%- set value = payload ~ " -> '" ~ name ~ "'" -%}
        {%- set text = payload ~ " ->> '" ~ name ~ "'" -%}
        {%- do moments.append(
            "case when jsonb_typeof(" ~ value ~ ") = 'string' then staging.try_timestamptz(" ~ text ~ ")"
            ~ " when jsonb_typeof(" ~ value ~ ") = 'number' and " ~ value ~ " between '1' and '4102444800'"
            ~ " then to_timestamp((" ~ text ~ ")::double precision) end"
        ) -%}
    {%- endfor -%}
    coalesce({{ moments | join(', ') }})
{%- endmacro %}
