select
    symbols.symbol,
    hours.hour_of_week
from (values
    {% for symbol in var('symbols') %}
    ('{{ symbol }}'){{ ',' if not loop.last }}
    {% endfor %}
) as symbols (symbol)
cross join generate_series(0, 167) as hours (hour_of_week)
where {{ market_is_open(symbol='symbols.symbol', hour_of_week='hours.hour_of_week') }}
