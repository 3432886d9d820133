{#
    A moment by a broker's clock, that was sent as if it were UTC. `clock` is SQL of an offset such as +02:00, of the name
    of a time zone, or of NULL: then the moment is right as it is. Postgres takes EET, CET and WET for winter's fixed offsets;
    a broker's clock has summer time.
#}
{% macro broker_time(moment, clock) -%}
    case
        when {{ clock }} is null then {{ moment }}
        when {{ clock }} ~ '^[+-]' then {{ moment }} - ({{ clock }})::interval
        else ({{ moment }} at time zone 'UTC') at time zone case upper({{ clock }})
            when 'EET' then 'Europe/Athens'
            when 'CET' then 'Europe/Berlin'
            when 'WET' then 'Europe/Lisbon'
            else {{ clock }}
        end
    end
{%- endmacro %}
