-- A returned row is a candle whose minute of the day (UTC) is no multiple of its timeframe.
select
    symbol,
    timeframe,
    timestamp
from {{ ref('candles') }}
where extract(epoch from timestamp)::bigint % (
    case timeframe
        {% for timeframe, minutes in var('timeframes').items() %}
        when '{{ timeframe }}' then {{ minutes * 60 }}
        {% endfor %}
    end
) <> 0
