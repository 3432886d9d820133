select
    instrument_id,
    timeframe,
    timestamp,
    {% for column in var('indicator_columns') %}
    {{ column.name }},
    {% endfor %}
    extracted_at
from {{ source('indicators', 'indicator_values') }}
