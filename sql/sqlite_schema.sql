-- The SQLite file as the MetaTrader 5 collector creates it: one table per symbol, named like the symbol.
--
--     sqlite3 trading_data.db < sql/sqlite_schema.sql
--
-- timestamp is the bar's open in Unix seconds (UTC). SQLite declares types but does not enforce them:
-- text or a blob can sit in a real column, and EMPTY_VALUE (1.7976931348623157e308) stands for "no value".
-- The JSON columns are plain text, written by the collector's own formatter and not always valid.
-- Running the file again changes nothing.

create table if not exists AUDJPY (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists AUDUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists BTCUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists ETHUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists EURUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists GBPJPY (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists GBPUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists NDX100 (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists NZDUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists US30 (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists USDCAD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists USDCHF (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists USDJPY (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists XAGUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);

create table if not exists XAUUSD (
    timestamp integer primary key,
    open real not null,
    high real not null,
    low real not null,
    close real not null,
    fractals text,
    horizontal_trendlines text,
    diagonal_trendlines text,
    momentum_candles text,
    keltner_channels text,
    tema real,
    hrma real,
    smma real,
    zigzag text
);
