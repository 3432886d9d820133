{# Staging holds nothing but the rows of the file that is being loaded, so an increment reads all of it. #}
select
    instrument_id,
    timeframe,
    timestamp,
    {% for column in var('indicator_columns') %}
    {{ column.name }},
    {% endfor %}
    extracted_at as synced_at
from {{ ref('stg_indicators__values') }}
