{#
    The market calendar, by hour of the week in UTC (0 is Monday 00:00, 167 is Sunday 23:00).

    Currencies, metals and indices trade from Sunday 17:00 to Friday 17:00 New York, which is 22:00 UTC in winter and
    21:00 in summer; some pause for the hour after 17:00 each day. Bars are due only in hours that are open in both
    seasons, hence up to Friday 21:00, and for those with the pause not from 21:00 to 23:00 on any day. They begin on
    Sunday 23:00, because some brokers open minutes after the hour: a table of hours then has no bar of the opening.
#}
{% macro market_is_open(symbol, hour_of_week) %}
(
    {{ symbol }} in ('{{ var("around_the_clock") | join("', '") }}')
    or (
        ({{ hour_of_week }} < 4 * 24 + 21 or {{ hour_of_week }} >= 6 * 24 + 23)
        and not ({{ symbol }} in ('{{ var("daily_break") | join("', '") }}') and {{ hour_of_week }} % 24 in (21, 22))
    )
)
{% endmacro %}
