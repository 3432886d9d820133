"""The warehouse of the API's tests: its tables and functions in their agreed shapes, and keys of every tier.

The functions are stand-ins that answer from few rows, so that a database is made in a second. What the real ones
answer is tested where they are.
"""

from __future__ import annotations

import csv
import hashlib
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.extras import execute_values

from extract.settings import load_project

SEEDS = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds"
PROJECT = load_project()
PRO_KEY, ADMIN_KEY, FREE_KEY = "th_pro_1", "th_admin_1", "th_free_1"
EXPIRED_KEY, REVOKED_KEY = "th_expired_1", "th_revoked_1"

TIERS = """
    create table api.tiers (
        tier text, symbols text, timeframes text, columns text, confluence boolean, stream boolean,
        market boolean, requests_per_hour integer, refresh_seconds integer
    );
"""
SCHEMAS = """
    create schema api; create schema ops; create schema signals;
    create table ops.api_keys (
        key_hash bytea primary key, name text, tier text, created_at timestamptz default now(), expires_at timestamptz,
        revoked_at timestamptz, last_used_at timestamptz
    );
"""
STAND_INS = """
    create table ops.sync_runs (run_id bigint primary key, project_fingerprint text);
    insert into ops.sync_runs values (1, 'abcdef0123456789');
    create table ops.source_health (
        source text, verdict text, last_ended_at timestamptz, last_success_at timestamptz, due_again_at timestamptz
    );
    insert into ops.source_health values ('mt5', 'current', now(), now(), now());
    create table public.ohlc (symbol text, timeframe text, timestamp timestamptz, close float, synced_at timestamptz);
    create index on public.ohlc (synced_at);
    create function ops.touch_api_key(key_hash bytea) returns void language sql
    as 'update ops.api_keys as k set last_used_at = date_trunc(''minute'', now()) where k.key_hash = $1';
    create function api.symbols(tier text) returns json language sql stable
    as $$ select json_build_object('success', true, 'tier', t.tier, 'symbols', string_to_array(t.symbols, ' '),
        'total_count', 5) from api.tiers as t where t.tier = $1 $$;
    create function api.timeframes(tier text) returns json language sql stable
    as $$ select json_build_object('success', true, 'tier', t.tier, 'timeframes', string_to_array(t.timeframes, ' '),
        'total_count', 3) from api.tiers as t where t.tier = $1 $$;
    create function api.indicators(
        symbol text, timeframe text, row_limit integer, before timestamptz, bars text, tier text
    ) returns json language plpgsql stable
    as $$
    declare answer json;
    begin
        execute format(
            'select json_build_object(''success'', true, ''data'', json_build_object(''ohlc'', json_agg(
                json_build_object(''time'', extract(epoch from timestamp)::bigint, ''open'', open, ''high'', high,
                ''low'', low, ''close'', close, ''volume'', null) order by timestamp),
                ''fractals'', null, ''horizontal_trendlines'', null, ''diagonal_trendlines'', null,
                ''momentum_candles'', null, ''keltner_channels'', null, ''zigzag'', null,
                ''tema'', json_agg(null::float), ''hrma'', json_agg(null::float), ''smma'', json_agg(null::float)),
            ''metadata'', json_build_object(''symbol'', upper(%L), ''timeframe'', %L, ''tier'', %L,
                ''bars_returned'', count(*), ''data_source'', ''postgresql'', ''last_sync'', max(synced_at),
                ''pro_indicators_enabled'', %L <> ''FREE''))
            from (select * from public.%I where timestamp < coalesce($1, ''infinity'') order by timestamp desc limit $2)
            as newest having count(*) > 0', symbol, timeframe, tier, tier, symbol || '_' || lower(timeframe))
        into answer using before, row_limit;
        return answer;
    end $$;
    create function signals.confluence(symbol text, at timestamptz) returns jsonb language sql stable
    as $$ select jsonb_build_object('symbol', upper(symbol), 'timestamp', to_json(at), 'confluence_score', 1.5,
        'max_score', 10, 'signals', '{"bullish": 0, "bearish": 0, "neutral": 9}'::jsonb, 'breakdown', '{}'::jsonb,
        'all_117_indicators', '{}'::jsonb) where at >= '2026-01-05 10:00+00' $$;
    create function signals.confluence_history(
        symbol text, from_time timestamptz, to_time timestamptz, step interval
    ) returns table (at timestamptz, confluence_score numeric, bullish integer, bearish integer, neutral integer)
    language sql stable
    as $$ select g, 1.5, 0, 0, 9 from generate_series(from_time, to_time, step) as g
        where g >= '2026-01-05 10:00+00' $$;
    create function api.overview(tier text) returns json language sql
    as $$ select json_build_object('success', true, 'tier', tier, 'time', 0, 'symbols', '[]'::json) $$;
    create function api.indicators_health() returns json language sql
    as $$ select json_build_object('success', true, 'status', 'healthy', 'tables_current', 135, 'tables_total', 135,
        'problems', '[]'::json) $$;
    create function api.sqlite_health() returns json language sql
    as $$ select json_build_object('success', true, 'lastUpdate', 1767607200000) $$;
    create function api.market_version() returns text language sql as $$ select '1' $$;
    create function api.market_instruments(search text, row_limit integer) returns json language sql
    as $$ select json_build_object('success', true, 'total_count', 1, 'instruments', json_build_array(
        json_build_object('instrument_id', 1, 'trading_symbol', search, 'name', null, 'exchange', 'NSE', 'segment',
        'NSE_EQ', 'instrument_type', 'EQUITY', 'is_listed', true, 'timeframes', '["1d"]'::json, 'newest_bar', 0))) $$;
    create function api.market_bars(instrument text, timeframe text, row_limit integer, before timestamptz)
    returns json language plpgsql
    as $$ begin
        if instrument <> '1' then
            raise exception using errcode = 'TH400', message = 'unknown instrument', detail = '{"choices": []}';
        end if;
        return json_build_object('success', true, 'data', json_build_object('ohlc', '[{"time": 0, "open": 1, "high": 2,
            "low": 0.5, "close": 1.5, "volume": 7, "oi": null}]'::json, 'indicators', '{"sma_9": [null]}'::json),
            'metadata', json_build_object('instrument_id', 1, 'trading_symbol', 'S1', 'name', null, 'exchange', 'NSE',
            'segment', 'NSE_EQ', 'instrument_type', 'EQUITY', 'is_listed', true, 'timeframe', timeframe,
            'bars_returned', 1, 'data_source', 'postgresql', 'last_sync', null));
    end $$;
"""
KEY_COLUMNS = "key_hash, name, tier, expires_at, revoked_at"
ANSWERS = (
    *("sync_status()", "table_stats()", "trades_summary()", "trades_equity_curve()", "trades_exit_reasons()"),
    *(
        "trades_pnl_by_time()",
        "trades_open_lots()",
        "accounts()",
        "trades_completed(row_limit integer, row_offset integer)",
    ),
)


def make_template(uri: str) -> None:
    """Make the warehouse in an empty database."""
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(SCHEMAS)
    add_tiers_and_keys(uri)
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(STAND_INS)
        for answer in ANSWERS:
            name = answer.partition("(")[0]
            cursor.execute(
                f"create function api.{answer} returns json language sql"
                f" as $$ select json_build_object('success', true, 'of', '{name}') $$"
            )
        for table in PROJECT.candle_tables:
            cursor.execute(
                f"create table public.{table} (timestamp timestamptz primary key, open float, high float, low float,"
                f" close float, synced_at timestamptz); create index on public.{table} (synced_at)"
            )


def add_tiers_and_keys(uri: str) -> None:
    """Make `api.tiers` of its seed, and a key of every tier, in a warehouse that has the schemas but not the tiers."""
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TIERS)
        with (SEEDS / "tiers.csv").open(newline="", encoding="utf-8") as file:
            execute_values(cursor, "insert into api.tiers values %s", list(csv.reader(file))[1:])
        keys = [
            (hashlib.sha256(key.encode()).digest(), key, tier, expires, revoked)
            for key, tier, expires, revoked in (
                (PRO_KEY, "PRO", None, None),
                (ADMIN_KEY, "ADMIN", "infinity", None),
                (FREE_KEY, "FREE", None, None),
                (EXPIRED_KEY, "PRO", "2020-01-01", None),
                (REVOKED_KEY, "PRO", None, "2020-01-01"),
            )
        ]
        execute_values(cursor, f"insert into ops.api_keys ({KEY_COLUMNS}) values %s", keys)
