{#
    Rows of the table, after a `union all`, that must lose their dynamic columns and have no bar to be computed from.
    Between two increments that can only be the newest row. A full refresh may find more, in a table of another shape.
#}
{% macro candles_given_up(increment) %}
    {% set names = candle_columns() %}
    {% set dynamic = dynamic_columns() %}
    {% set types = {'timestamp': 'timestamptz', 'synced_at': 'timestamptz'} %}
    {% for name in json_columns() %}
        {% do types.update({name: 'jsonb'}) %}
    {% endfor %}
    {% set present = names if increment else adapter.get_columns_in_relation(this) | map(attribute='name') | list %}
    {% set kept = names | select('in', present) | reject('in', dynamic) | list %}
    {% set given_up = names | select('in', present) | select('in', dynamic) | list %}
    {% set row = 'candle.timestamp = to_timestamp(so_far.newest_minute * 60)' if increment
        else 'candle.timestamp < staging_start.timestamp' %}
    union all
    select
        {% for name in names %}
        cast({{ 'candle.' ~ name if name in kept else 'null' }} as {{ types.get(name, 'double precision') }}){{ ',' if not loop.last }}
        {% endfor %}
    from {{ 'so_far' if increment else 'staging_start' }}
    cross join newest
    inner join {{ this }} as candle on {{ row }} and candle.timestamp < to_timestamp(newest.epoch_minute * 60)
    where num_nonnulls({{ given_up | join(', ') or 'null' }}) > 0
        and not exists (
            select
            from bars
            where bars.timestamp >= extract(epoch from candle.timestamp)::bigint
                and bars.timestamp < extract(epoch from candle.timestamp)::bigint + 60
        )
{% endmacro %}
