"""The Indian market over HTTP: bars and indicators as the rows are, search, tiers, and what is not there."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import InsufficientPrivilege

from tests.conftest import Server
from tests.support.api_stand_ins import ADMIN_KEY, FREE_KEY, PRO_KEY
from tests.support.api_world import Client
from tests.support.market_world import INDIA, INDICATORS, MarketBar, MarketWorld, bar, days
from tests.support.rest_world import build_models
from tests.support.tenants import Tenants

FIRST_DAY = datetime(2025, 1, 28, tzinfo=INDIA)
OPENS = datetime(2025, 1, 30, 9, 15, tzinfo=INDIA)


def minutes() -> list[MarketBar]:
    """Three short sessions over the end of a month; some minutes are missing."""
    times = [OPENS + timedelta(days=day, minutes=minute) for day in range(3) for minute in (0, 1, 2, 5, 6, 30)]
    return [bar(at, number) for number, at in enumerate(times)]


def shown(answer: Any) -> tuple[list[Any], dict[str, list[Any]]]:
    return answer["data"]["ohlc"], answer["data"]["indicators"]


def expected(bars: list[MarketBar]) -> tuple[list[Any], dict[str, list[Any]]]:
    lists = {name: [each.indicators[name] if each.indicators else None for each in bars] for name in INDICATORS}
    return [each.ohlc for each in bars], lists


def test_bars_and_indicators_are_the_rows_of_the_warehouse(market_world: MarketWorld) -> None:
    market_world.instrument(7, "RELIANCE", "Reliance Industries")
    market_world.instrument(8, "TCS")
    bars = [*days(FIRST_DAY, 40), MarketBar(FIRST_DAY + timedelta(days=40), 9, 9.5, 8, 8.25, 0, None, None)]
    market_world.write(7, "1d", bars)
    market_world.write(8, "1d", days(FIRST_DAY, 5))
    with market_world.serving() as running:
        client = running.client(PRO_KEY)
        got = client.get("/api/market/7/1d")
        assert got.status == 200
        assert shown(got.json) == expected(bars)
        assert got.json["metadata"] == {
            "instrument_id": 7,
            "trading_symbol": "RELIANCE",
            "name": "Reliance Industries",
            "exchange": "NSE",
            "segment": "NSE_EQ",
            "instrument_type": "EQUITY",
            "is_listed": True,
            "timeframe": "1d",
            "bars_returned": 41,
            "data_source": "postgresql",
            "last_sync": "2026-01-01T00:00:01.000000Z",
        }
        again = client.get("/api/market/7/1d")
        assert (again.headers["x-cache"], again.json["metadata"]["data_source"]) == ("hit", "cache")
        assert shown(again.json) == shown(got.json)
        assert shown(client.get("/api/market/7/1d?limit=3").json) == expected(bars[-3:])
        missing = client.get("/api/market/7/1h")
        assert (missing.status, missing.json["error"]) == (404, "no data: 7 1h has no bars")
        for wrong in ("limit=0", "limit=5001", "limit=x", "before=yesterday", "bars=sampled", "limit=1&limit=2"):
            assert client.get(f"/api/market/7/1d?{wrong}").status == 400, wrong


@pytest.mark.only_on("embedded")
@pytest.mark.parametrize("limit", [1, 2, 5, 7, 18, 100])
def test_paging_back_meets_every_bar_once(market_world: MarketWorld, limit: int) -> None:
    market_world.instrument(7, "RELIANCE")
    bars = minutes()
    market_world.write(7, "1m", bars)
    market_world.write(7, "5m", bars[:1])
    with market_world.serving() as running:
        client = running.client(PRO_KEY)
        pages: list[Any] = []
        path = f"/api/market/reliance/1m?limit={limit}"
        before = ""
        while (got := client.get(path + before)).status == 200:
            ohlc, _ = shown(got.json)
            pages[:0] = ohlc
            before = f"&before={ohlc[0]['time']}"
            assert len(ohlc) <= limit
        assert (got.status, pages) == (404, expected(bars)[0])
        # a time between bars, and one in the middle of a session
        cut = int(bars[9].at.timestamp())
        for moment, newest in ((cut, 9), (cut + 1, 10), (cut + 86_400, 15)):
            got = client.get(f"/api/market/7/1m?limit={limit}&before={moment}")
            assert shown(got.json) == expected(bars[max(newest - limit, 0) : newest]), moment


@pytest.mark.only_on("embedded")
def test_an_instrument_is_its_number_or_its_exact_symbol(market_world: MarketWorld) -> None:
    world = market_world
    for number, symbol, segment in (
        (1, "RELIANCE", "NSE_EQ"),
        (2, "RELIANCE", "BSE_EQ"),
        (3, "M&M", "NSE_EQ"),
        (4, "NIFTY 24500 CE 30 JAN 25", "NSE_FO"),
        (5, "2", "NSE_EQ"),
        (6, "500325", "BSE_EQ"),
        (7, "Straße 100%", "NSE_EQ"),
    ):
        world.instrument(number, symbol, segment=segment)
        world.write(number, "1d", [bar(FIRST_DAY, number)])
    with world.serving() as running:
        client = running.client(PRO_KEY)
        for name, number in (
            ("1", 1),
            ("2", 2),
            ("m%26m", 3),
            ("M%26M", 3),
            ("%20M&M%20", 3),
            ("NIFTY%2024500%20CE%2030%20JAN%2025", 4),
            ("nifty%2024500%20ce%2030%20jan%2025", 4),
            ("500325", 6),
            ("stra%C3%9Fe%20100%25", 7),
        ):
            got = client.get(f"/api/market/{name}/1D")
            assert (got.status, got.json.get("metadata", {}).get("instrument_id")) == (200, number), name
        several = client.get("/api/market/reliance/1d")
        assert several.status == 400
        assert several.json["error"] == (
            "'reliance' is the trading symbol of 2 instruments; ask by instrument_id: 1 (NSE_EQ), 2 (BSE_EQ)"
        )
        assert [(each["instrument_id"], each["segment"]) for each in several.json["choices"]] == [
            (1, "NSE_EQ"),
            (2, "BSE_EQ"),
        ]
        for unknown in ("RELI", "99", "9" * 30, "'%20or%201=1", "%25", "a%00b", "%F0%9F%92%B0", "x" * 200, "-1", "1.0"):
            got = client.get(f"/api/market/{unknown}/1d")
            assert (got.status, got.json["error"][:18]) == (400, "unknown instrument"), unknown
        got = client.get("/api/market/1/h1")
        assert (got.status, got.json["allowed"]) == (400, ["1m", "5m", "1h", "1d"])


def names(client: Client, query: str) -> list[int]:
    got = client.get(f"/api/market/instruments?search={query}")
    assert got.status == 200, got.json
    assert got.json["total_count"] == len(got.json["instruments"])
    return [each["instrument_id"] for each in got.json["instruments"]]


@pytest.mark.only_on("embedded")
def test_search_by_symbol_or_name_the_likeliest_first(market_world: MarketWorld) -> None:
    world = market_world
    world.instrument(1, "TATAMOTORS", "Tata Motors")
    world.instrument(2, "TATASTEEL", "Tata Steel")
    world.instrument(3, "TCS", "Tata Consultancy Services")
    world.instrument(4, "TATA 500 CE", "Tata Motors", "CE", "NSE_FO")
    world.instrument(5, "TATA FUT", "Tata Motors", "FUTURES", "NSE_FO")
    world.instrument(6, "TATAOLD", "Gone", listed=False)
    world.instrument(7, "NEOTATA", None)
    world.instrument(8, "TATA", "Zebra", "CE", "NSE_FO", listed=False)
    world.instrument(9, "NIFTY", "Nifty 50", "INDEX", "NSE_INDEX")
    world.instrument(10, "P_100%", "Per\\cent")
    world.write(9, "1m", minutes())
    world.write(9, "1d", days(FIRST_DAY, 2))
    with world.serving() as running:
        client = running.client(PRO_KEY)
        assert names(client, "tata") == names(client, "TaTa") == names(client, "%20tata%20") == [8, 1, 2, 5, 4, 6, 3, 7]
        assert names(client, "tata&limit=2") == [8, 1]
        assert names(client, "motors") == [1, 5, 4]
        assert names(client, "a%20m") == [1, 5, 4]
        assert names(client, "%25") == names(client, "_") == names(client, "%5C") == [10]
        assert names(client, "nothing") == []
        [nifty] = client.get("/api/market/instruments?search=ifty%2050").json["instruments"]
        assert nifty == {
            "instrument_id": 9,
            "trading_symbol": "NIFTY",
            "name": "Nifty 50",
            "exchange": "NSE",
            "segment": "NSE_INDEX",
            "instrument_type": "INDEX",
            "is_listed": True,
            "timeframes": ["1m", "1d"],
            "newest_bar": int(minutes()[-1].at.timestamp()),
        }
        for wrong in ("", "?search=", "?search=%20", "?search=a%00", f"?search={'x' * 101}", "?search=a&limit=101"):
            assert client.get(f"/api/market/instruments{wrong}").status == 400, wrong


@pytest.mark.only_on("embedded")
def test_the_market_is_for_tiers_that_have_it_in_any_spelling(market_world: MarketWorld) -> None:
    market_world.instrument(1, "TCS")
    market_world.write(1, "1d", days(FIRST_DAY, 3))
    paths = (
        *("/api/market/1/1d", "/API/Market/TCS/1D", "/api/market/%20tcs/1d", "/api/market/1/nope", "/api/market/2/1m"),
        *("/api/market/instruments?search=tcs", "/api/MARKET/Instruments?search=t", "/api/market/instruments"),
    )
    with market_world.serving() as running:
        for key in (None, FREE_KEY):
            for path in paths:
                got = running.client(key).get(path)
                assert (got.status, got.json["error"]) == (403, "the Indian market is not in the tier FREE"), path
                assert (got.json["tier"], got.json["upgrade_required"]) == ("FREE", True)
        for key in (PRO_KEY, ADMIN_KEY):
            assert running.client(key).get(paths[0]).status == 200
        assert running.client("nonsense").get(paths[0]).status == 401
    market_world.execute("update api.tiers set market = (tier = 'FREE')")
    with market_world.serving() as running:
        assert running.client().get(paths[0]).status == 200
        assert running.client(PRO_KEY).get(paths[0]).status == 403


@pytest.mark.only_on("embedded")
def test_a_market_that_is_empty_or_not_built_disturbs_nothing_else(market_world: MarketWorld) -> None:
    world = market_world
    with world.serving() as running:
        client = running.client(PRO_KEY)
        assert names(client, "tata") == []
        assert client.get("/api/market/tata/1d").status == 400
        world.instrument(1, "TCS")
        world.write(1, "1d", days(FIRST_DAY, 3))
        world.execute("drop table market.indicator_data")  # nobody has computed any
        world.announce_models("candle_data", "instrument_master")
    with world.serving() as running:
        ohlc, indicators = shown(running.client(PRO_KEY).get("/api/market/1/1d").json)
        assert (len(ohlc), indicators) == (3, {name: [None] * 3 for name in INDICATORS})
    world.execute("drop function api.market_bars, api.market_instruments, api.market_version")
    world.execute("alter table api.tiers rename market to stock")
    with world.serving() as running:
        client = running.client(PRO_KEY)
        assert client.get("/api/market/1/1d").status == 403  # as long as the tiers are those of before
        assert client.get("/api/symbols").status == 200
    world.execute("alter table api.tiers rename stock to market")
    with world.serving() as running:
        client = running.client(PRO_KEY)
        for path in ("/api/market/1/1d", "/api/market/instruments?search=t"):
            got = client.get(path)
            assert got.status == 503
            assert "tradehouse upstox sync" in got.json["error"]
        for path in ("/api/symbols", "/api/overview", "/", "/chart/EURUSD/H1"):
            assert client.get(path).status == 200, path


def test_the_role_of_the_api_may_run_the_functions_and_nothing_more(server: Server, tenants: Tenants) -> None:
    build_models(tenants.pipeline, server.home, ("upstox", "indicators"))
    MarketWorld(tenants.superuser).instrument(1, "TCS")
    MarketWorld(tenants.pipeline).write(1, "1d", days(FIRST_DAY, 3))
    reader = MarketWorld(tenants.api)
    [(found,)] = reader.query("select api.market_bars('tcs', '1d', 10, null)")
    assert shown(found) == expected(days(FIRST_DAY, 3))
    [(found,)] = reader.query("select api.market_instruments('t', 10)")
    assert found["instruments"][0]["timeframes"] == ["1d"]
    assert reader.query("select api.market_version() is not null") == [(True,)]
    for statement in (
        "update market.candle_data set close = 1",
        "insert into market.instrument_master select * from market.instrument_master",
        "delete from market.coverage",
        "select * from staging.upstox_windows",
    ):
        with pytest.raises(InsufficientPrivilege):
            reader.execute(statement)


def test_psql_is_told_what_the_api_says(market_world: MarketWorld) -> None:
    with pytest.raises(psycopg2.Error) as raised:
        market_world.query("select api.market_bars('nope', '1d', 1, null)")
    assert (raised.value.pgcode, "unknown instrument 'nope'" in str(raised.value)) == ("TH400", True)
