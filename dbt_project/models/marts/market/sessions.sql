{# A day is a session if the benchmark index has a daily candle: special sessions have one, holidays have none. #}
select
    indices.exchange,
    coverage.day
from {{ all_rows_of(ref('market_indices')) }} as indices
inner join {{ all_rows_of(ref('instrument_master')) }} as master on indices.instrument_key = master.instrument_key
inner join {{ all_rows_of(source('upstox_market', 'coverage')) }} as coverage
    on master.instrument_id = coverage.instrument_id and coverage.timeframe = '1d'
where indices.is_benchmark
