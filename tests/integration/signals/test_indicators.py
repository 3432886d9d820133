"""The answer of bars: its values, tiers, pages, resampled bars, points without a time."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from collector.simulator import write_demo_data
from extract.settings import SQL
from tests.integration.signals.generated import speak
from tests.support.world import World

MONDAY = datetime(2025, 1, 6, tzinfo=timezone.utc)
BANDS = (
    *("ultra_extreme_upper", "extreme_upper", "upper_most", "upper_middle", "upper"),
    *("lower", "lower_middle", "lower_most", "extreme_lower", "ultra_extreme_lower"),
)
PRO_ONLY = ("momentum_candles", "keltner_channels", "tema", "hrma", "smma", "zigzag")


def unix(moment: datetime) -> int:
    return int(moment.timestamp())


def put(world: World, table: str, opened: datetime, price: float, **columns: Any) -> None:
    """One candle; columns that are not named are NULL."""
    values = {
        "timestamp": opened,
        **dict.fromkeys(("open", "high", "low"), price),
        "close": price + 0.5,
        "synced_at": opened + timedelta(minutes=1),
        **{name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in columns.items()},
    }
    with world.connection() as connection, connection, connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(values))
        cursor.execute(f"insert into public.{table} ({', '.join(values)}) values ({marks})", list(values.values()))


def ask(
    world: World,
    symbol: str = "eurusd",
    timeframe: str = "H1",
    limit: int = 1000,
    before: datetime | None = None,
    bars: str = "sampled",
    tier: str = "PRO",
) -> Any:
    """The whole answer; None where there is none."""
    return world.query("select api.indicators(%s, %s, %s, %s, %s, %s)", symbol, timeframe, limit, before, bars, tier)[
        0
    ][0]


def data(world: World, **question: Any) -> Any:
    return ask(world, **question)["data"]


def make_ohlc(world: World) -> None:
    """The table of resampled candles, as it is described."""
    world.execute(
        "drop table if exists public.ohlc cascade; create table public.ohlc (symbol text, timeframe text,"
        " timestamp timestamptz, open double precision, high double precision, low double precision,"
        " close double precision, bars integer, complete boolean, synced_at timestamptz,"
        " primary key (symbol, timeframe, timestamp))"
    )


@pytest.fixture
def hours(world: World) -> World:
    """Five H1 candles of EURUSD: the dynamic columns on the newest, gaps in the averages, bands in both dialects."""
    for place in range(5):
        opened = MONDAY + timedelta(hours=place)
        scalar = {band: 100 + place - rank for rank, band in enumerate(BANDS)}
        newest = {
            "fractals": {
                "bottoms": [],
                "peaks": [{"time": unix(MONDAY) + 300, "price": 2.5, "index": 7}, {"time": unix(MONDAY), "price": 2}],
            },
            "horizontal_trendlines": {"peak_1": [[unix(MONDAY), 2.25]]},
            "diagonal_trendlines": {"ascending_1": [{"price": 1.5}], "descending_1": "none"},
        }
        put(
            world,
            "eurusd_h1",
            opened,
            float(place),
            tema=None if place == 1 else place + 0.125,
            hrma=place + 0.25 if place else None,
            keltner_channels={band: [value, 0] for band, value in scalar.items()} if place % 2 else scalar,
            momentum_candles=[
                {"time": unix(opened) - 3600, "type": "bearish", "zscore": -2.5},
                {"time": unix(opened), "type": [1, "strong bullish", 4, 5, 3][place], "zscore": place},
            ],
            zigzag={"peaks": [{"time": unix(opened), "price": place}], "bottoms": []},
            **(newest if place == 4 else {}),
        )
    return world


def test_an_answer_of_all_columns(hours: World) -> None:
    answer = ask(hours)
    times = [unix(MONDAY) + 3600 * place for place in range(5)]
    assert answer == {
        "success": True,
        "data": {
            "ohlc": [
                {"time": time, "open": p, "high": p, "low": p, "close": p + 0.5, "volume": None}
                for p, time in enumerate(times)
            ],
            "fractals": {
                "bottoms": [],
                "peaks": [{"time": times[0], "price": 2}, {"time": times[0] + 300, "price": 2.5}],
            },
            "horizontal_trendlines": {"peak_1": [{"time": times[0], "price": 2.25}]},
            "diagonal_trendlines": {"ascending_1": [{"time": None, "price": 1.5}], "descending_1": []},
            # of a time, what the newest row that has it says; a type that is no momentum candle is none
            "momentum_candles": [
                {"time": times[0] - 3600, "type": 4, "zscore": -2.5},
                *({"time": time, "type": 4, "zscore": -2.5} for time in times[:4]),
            ],
            "keltner_channels": {band: [100 + place - rank for place in range(5)] for rank, band in enumerate(BANDS)},
            "tema": [0.125, None, 2.125, 3.125, 4.125],
            "hrma": [None, 1.25, 2.25, 3.25, 4.25],
            "smma": [None] * 5,
            "zigzag": {"peaks": [{"time": times[4], "price": 4}], "bottoms": []},
        },
        "metadata": {
            "symbol": "EURUSD",
            "timeframe": "H1",
            "tier": "PRO",
            "bars_returned": 5,
            "data_source": "postgresql",
            "last_sync": "2025-01-06T04:01:00.000000Z",
            "pro_indicators_enabled": True,
        },
    }


def test_momentum_of_a_row_alone_keeps_its_types(hours: World) -> None:
    types = [
        data(hours, limit=1, before=MONDAY + timedelta(hours=place, minutes=1))["momentum_candles"][1:]
        for place in range(5)
    ]
    assert [[point["type"] for point in points] for points in types] == [[1], [2], [4], [5], []]


def test_free_sees_candles_and_what_its_row_names(hours: World) -> None:
    free, pro = ask(hours, tier="FREE"), ask(hours)
    assert free["data"] == {**pro["data"], **dict.fromkeys(PRO_ONLY)}
    assert free["metadata"] == {**pro["metadata"], "tier": "FREE", "pro_indicators_enabled": False}
    hours.execute("insert into api.tiers (tier, symbols, timeframes, columns) values ('SOME', '*', '*', 'tema zigzag')")
    some = data(hours, tier="SOME")
    assert {name for name, value in some.items() if value is not None} == {"ohlc", "tema", "zigzag"}
    assert ask(hours, tier="NOSUCH") is None


def test_pages_back_join_without_a_gap(hours: World) -> None:
    whole = data(hours)
    before: datetime | None = None
    pages: list[Any] = []
    while page := ask(hours, limit=2, before=before):
        pages.insert(0, page)
        before = datetime.fromtimestamp(page["data"]["ohlc"][0]["time"], timezone.utc)
    assert [page["metadata"]["bars_returned"] for page in pages] == [1, 2, 2]
    for column in ("ohlc", "tema", "hrma", "smma"):
        assert [value for page in pages for value in page["data"][column]] == whole[column]
    # of an older page the newest row has no dynamic columns, and the version is the grid's
    assert pages[0]["data"]["fractals"] is None
    assert pages[0]["data"]["zigzag"]["peaks"] == [{"time": unix(MONDAY), "price": 0}]
    assert {page["metadata"]["last_sync"] for page in pages} == {"2025-01-06T04:01:00.000000Z"}


def test_no_bar_is_no_answer(hours: World) -> None:
    assert ask(hours, before=MONDAY) is None
    assert ask(hours, timeframe="D1") is None
    assert ask(hours, symbol="nosuch") is None
    assert ask(hours, timeframe="H3") is None
    make_ohlc(hours)
    assert ask(hours, bars="resampled") is None


def test_resampled_bars_have_the_indicators_of_the_sampled_ones(hours: World) -> None:
    make_ohlc(hours)
    # of hour 3 there is no bar of hh:00, of hour 0 no candle; other symbols and timeframes do not count
    hours.execute("delete from eurusd_h1 where timestamp = '2025-01-06 03:00+00'")
    hours.execute(
        "insert into public.ohlc select 'eurusd', 'H1', '2025-01-06 00:00+00'::timestamptz + hour * interval '1 hour',"
        " hour + 10, hour + 30, hour, hour + 20, 12, true,"
        " '2025-01-06 06:00+00'::timestamptz + hour * interval '1 hour'"
        " from unnest(array[1, 2, 3, 4]) as hour"
        " union all values ('eurusd', 'H2', now(), 0, 0, 0, 0, 1, false, now()),"
        " ('usdjpy', 'H1', now(), 0, 0, 0, 0, 1, false, now())"
    )
    answer = ask(hours, limit=3, bars="resampled")
    times = [unix(MONDAY) + 3600 * place for place in (2, 3, 4)]
    assert answer["data"]["ohlc"] == [
        {"time": time, "open": p + 10, "high": p + 30, "low": p, "close": p + 20, "volume": None}
        for p, time in zip((2, 3, 4), times, strict=True)
    ]
    assert answer["data"]["tema"] == [2.125, None, 4.125]
    assert answer["data"]["keltner_channels"]["upper"] == [98, None, 100]
    assert answer["data"]["fractals"]["peaks"][1] == {"time": unix(MONDAY) + 300, "price": 2.5}
    assert answer["metadata"]["last_sync"] == "2025-01-06T10:00:00.000000Z"
    assert answer["metadata"]["bars_returned"] == 3
    assert len(data(hours, bars="resampled")["ohlc"]) == 4


def test_momentum_without_times_is_that_of_the_newest_row(world: World) -> None:
    for place in range(3):
        points = [{"index": index, "type": "bullish", "zscore": place + index} for index in (8, 9)]
        put(world, "eurusd_m5", MONDAY + timedelta(minutes=5 * place), 1.0, momentum_candles=points)
    assert data(world, timeframe="M5")["momentum_candles"] == [
        {"time": None, "type": 1, "zscore": 10},
        {"time": None, "type": 1, "zscore": 11},
    ]


@pytest.mark.parametrize("dialect", [{"index": "from_newest"}, {"index_bars": 100}])
def test_an_index_becomes_a_time_where_every_bar_to_it_is_there(world: World, dialect: dict[str, Any]) -> None:
    speak(world, **dialect)

    def points(*back: float) -> list[dict[str, Any]]:
        return [{"index": 99 - each if "index_bars" in dialect else each, "price": 1, "type": 1} for each in back]

    # the bar of 00:20 is missing
    for place in (0, 1, 2, 3, 5, 6, 7):
        put(world, "eurusd_m5", MONDAY + timedelta(minutes=5 * place), 1.0, momentum_candles=points(0, 1))
    # H1 candles: the first is older than all M5 candles, the second has two of them before it
    zigzag = {"peaks": points(3, 2, 1, 0), "bottoms": points(150, -1, 0.25)}
    put(world, "eurusd_h1", MONDAY - timedelta(hours=1), 1.0, zigzag=zigzag)
    put(world, "eurusd_m5", MONDAY + timedelta(minutes=55), 1.0)
    put(world, "eurusd_m5", MONDAY + timedelta(minutes=60), 1.0, zigzag=zigzag)
    put(world, "eurusd_h1", MONDAY + timedelta(minutes=60), 1.0, zigzag=zigzag)

    newest, hour = data(world, timeframe="H1")["zigzag"], unix(MONDAY) + 3600
    assert [point["time"] for point in newest["peaks"]] == [None, None, hour - 300, hour]
    assert [point["time"] for point in newest["bottoms"]] == [None] * 3
    oldest = data(world, timeframe="H1", before=MONDAY)["zigzag"]
    assert [point["time"] for point in oldest["peaks"]] == [None, None, None, unix(MONDAY) - 3600]
    # each M5 candle is one of its own row, whose time is known, and the one before it; 23:55 and 00:20 are not there
    momentum = [point["time"] for point in data(world, timeframe="M5")["momentum_candles"]]
    assert momentum == [unix(MONDAY) + 300 * place for place in (0, 1, 2, 3, 5, 6, 7)]


def test_a_reader_needs_no_right_to_staging_or_ops(hours: World) -> None:
    hours.execute(
        "drop role if exists chart_reader; create role chart_reader;"
        "grant usage on schema signals, api to chart_reader; grant select on api.tiers to chart_reader;"
        "grant select on all tables in schema public to chart_reader"
    )
    with hours.connection() as connection, connection.cursor() as cursor:
        cursor.execute("set role chart_reader; set default_transaction_read_only = on")
        cursor.execute("select api.indicators('eurusd', 'H1', 3, null, 'sampled', 'PRO') -> 'success'")
        assert cursor.fetchall() == [(True,)]
        cursor.execute("select signals.confluence('eurusd', now()) ->> 'symbol'")
        assert cursor.fetchall() == [("EURUSD",)]
        cursor.execute("select count(*) from signals.confluence_history('eurusd', now(), now(), '1 day')")
        assert cursor.fetchall() == [(1,)]
    hours.execute("drop owned by chart_reader; drop role chart_reader")


@pytest.mark.only_on("embedded")
def test_every_momentum_candle_of_the_demo_is_one_of_its_bars(world: World) -> None:
    """The chart colours a bar whose time a momentum candle has."""
    path = world.directory / "demo.db"
    end = datetime(2025, 1, 8, 12, 3, tzinfo=timezone.utc)
    write_demo_data(path, symbols=["EURUSD"], days=2, end=end, schema_sql=SQL / "sqlite_schema.sql")
    world.settings["SQLITE_PATH"] = str(path)
    world.sync()
    answered = data(world, timeframe="M5")
    bars = {bar["time"]: bar for bar in answered["ohlc"]}
    momentum = answered["momentum_candles"]
    assert len(bars) == 576
    assert 10 < len(momentum) < 50
    for point in momentum:
        bar = bars[point["time"]]
        assert point["type"] in ((1, 2) if bar["close"] > bar["open"] else (4, 5)), point
