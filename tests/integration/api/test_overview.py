"""api.overview: every symbol and timeframe of a tier in one answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.collector import bar, series
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

HOUR = 3600


def overview(world: World, tier: str) -> Any:
    [(answer,)] = world.query("select api.overview(%s)", tier)
    return answer


def test_an_overview_of_a_tier(world: World) -> None:
    newest = int(time.time()) // HOUR * HOUR - HOUR
    start = newest - 71 * HOUR
    for symbol in ("BTCUSD", "ETHUSD"):  # they trade at weekends
        world.collector.load_many(symbol, series(start, 72, HOUR))
    world.sync()
    free, pro = overview(world, "FREE"), overview(world, "PRO")
    assert [each["symbol"] for each in free["symbols"]] == ["BTCUSD", "EURUSD", "US30", "USDJPY", "XAUUSD"]
    assert len(pro["symbols"]) == 15
    assert abs(free["time"] - time.time()) < 60

    btcusd, eurusd = free["symbols"][:2]
    closes = [bar(start + place * HOUR)["close"] for place in range(72)]
    before = [close for place, close in enumerate(closes) if (start + place * HOUR) // 86400 < newest // 86400]
    assert btcusd["hourly_closes"] == closes[-48:]
    assert (btcusd["close"], btcusd["close_before"]) == (closes[-1], before[-1])
    assert btcusd["confluence_score"] is None
    assert [each["timeframe"] for each in btcusd["timeframes"]] == ["H1", "H4", "D1"]
    assert [each["newest_bar"] for each in btcusd["timeframes"]] == [
        newest,
        newest // (4 * HOUR) * 4 * HOUR,
        newest // 86400 * 86400,
    ]
    assert (eurusd["close"], eurusd["hourly_closes"], eurusd["timeframes"][0]["newest_bar"]) == (None, None, None)

    of_pro = pro["symbols"][2]
    assert (of_pro["symbol"], len(of_pro["timeframes"])) == ("BTCUSD", 9)
    [(score,)] = world.query("select signals.confluence('btcusd', now()) ->> 'confluence_score'")
    assert of_pro["confluence_score"] == float(score)
    [(status, reason, lag)] = world.query(
        "select status, reason, extract(epoch from lag)::int from ops.sync_health"
        " where symbol = 'btcusd' and timeframe = 'M5'"
    )
    m5 = of_pro["timeframes"][0]
    assert m5 == {"timeframe": "M5", "newest_bar": newest, "lag_seconds": lag, "status": status, "reason": reason}
    assert status == "late"


def test_an_unknown_tier_has_no_overview(world: World) -> None:
    assert overview(world, "GOLD") is None
