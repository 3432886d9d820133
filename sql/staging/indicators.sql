-- Indicators: rows on their way to market.indicator_data, and how far each series has been computed. Repeatable.

-- The rows of one file, for the length of the transaction that brings them to market.indicator_data and empties this
-- again. So it needs neither a key nor the write-ahead log. The columns of `indicator_columns` in dbt_project.yml are
-- added when it is made. A row without any of them says that its candle is gone.
create unlogged table if not exists staging.indicator_values (
    instrument_id bigint not null,
    timeframe text not null,
    timestamp timestamptz not null,
    extracted_at timestamptz not null
);

-- How far each series has been computed: the newest stamp of its candles then, and the oldest bar that it ever had. To
-- compute a series again from its start, delete its row.
create table if not exists staging.indicator_marks (
    instrument_id bigint not null,
    timeframe text not null,
    candles_until timestamptz not null,
    first_bar timestamptz,
    file_name text not null,
    extracted_at timestamptz not null,
    primary key (instrument_id, timeframe)
);

-- All series of these types have been computed for candles up to this stamp, so older ones need not be looked at.
create table if not exists staging.indicator_scans (
    instrument_types text primary key,
    candles_until timestamptz not null,
    extracted_at timestamptz not null
);
