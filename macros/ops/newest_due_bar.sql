{# The open of the newest bar a candle table must have: the last instant of its grid at which the market was open. #}
{% macro newest_due_bar(symbol, minutes, at) %}
{% set epoch = 'floor(extract(epoch from ' ~ at ~ '))::bigint' %}
(
    select to_timestamp(max(slots.epoch))
    from (
        -- the last grid instant in each of the 168 hours before, if the hour has one
        select
            hours.hour,
            least({{ epoch }}, hours.hour * 3600 + 3599) / ({{ minutes }} * 60) * ({{ minutes }} * 60) as epoch
        from generate_series({{ epoch }} / 3600 - 167, {{ epoch }} / 3600) as hours (hour)
    ) as slots
    -- the epoch began on a Thursday
    where slots.epoch >= slots.hour * 3600 and {{ market_is_open(symbol, '((slots.hour + 72) % 168)') }}
)
{% endmacro %}
