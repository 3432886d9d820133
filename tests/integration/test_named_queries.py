"""The queries that `tradehouse query` knows by name, and its shell."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from tests.support.collector import bar, series
from tests.support.inspection import MONDAY, piped, rows
from tests.support.world import World

pytestmark = pytest.mark.only_on("embedded")

WEEK = 7 * 24 * 3600


# --- named queries -----------------------------------------------------------------------------


def test_the_list_of_named_queries(world: World) -> None:
    lines = world.run("query", "--list").stdout.splitlines()
    names = ["changed_last_hour", "drift", "gaps", "rejected", "slowest_runs"]
    assert [line.split(":")[0] for line in lines] == [f"@{name}" for name in names]
    assert all("?" in line for line in lines)


def test_drift(world: World) -> None:
    assert {row["missing"] for row in rows(world, "@drift")} == {0}
    world.collector.load_many("EURUSD", series(MONDAY, 10))
    world.sync()
    world.collector.load_many("EURUSD", series(MONDAY + 3000, 2))
    found = rows(world, "@drift")
    assert len(found) == 15
    assert found[0] == {
        **{"symbol": "eurusd", "file_newest": "2025-01-06T00:55:00+00:00"},
        **{"warehouse_newest": "2025-01-06T00:45:00+00:00", "behind": "0:10:00"},
        **{"file_rows": 12, "warehouse_rows": 10, "missing": 2},
    }
    assert found[1] == {
        **{"symbol": "audjpy", "file_newest": None, "warehouse_newest": None, "behind": None},
        **{"file_rows": 0, "warehouse_rows": 0, "missing": 0},
    }


def test_gaps(world: World) -> None:
    now = int(time.time())
    first = (now - WEEK) // 300 * 300
    crypto = [opened for opened in range(first, now - 300, 300) if opened > now - WEEK]
    dropped = crypto[100:103]
    forex = [opened for opened in crypto if due_by_the_calendar(opened)]
    metal = [opened for opened in forex if opened // 3600 % 24 not in (21, 22)]
    world.collector.load_many("BTCUSD", [bar(opened) for opened in crypto if opened not in dropped])
    world.collector.load_many("EURUSD", [bar(opened) for opened in forex[:-1000]])
    world.sync()
    found = {row["symbol"]: row for row in rows(world, "@gaps")}
    assert len(found) == 15
    # a slot may have closed since
    assert found["btcusd"]["missing"] - 3 in (0, 1)
    assert found["btcusd"]["expected"] - len(crypto) in (-1, 0, 1)
    assert found["btcusd"]["first_missing"] == iso(dropped[0])
    assert found["eurusd"]["missing"] - 1000 in (0, 1)
    assert found["eurusd"]["expected"] - len(forex) in (-1, 0, 1)
    assert found["eurusd"]["first_missing"] == iso(forex[-1000])
    assert found["xauusd"]["missing"] == found["xauusd"]["expected"]
    assert found["xauusd"]["expected"] - len(metal) in (-1, 0, 1)


def due_by_the_calendar(opened: int) -> bool:
    """Sunday 23:00 to Friday 21:00 UTC, spelled out day by day."""
    moment = datetime.fromtimestamp(opened, timezone.utc)
    return {4: moment.hour < 21, 5: False, 6: moment.hour >= 23}.get(moment.weekday(), True)


def iso(opened: int) -> str:
    return datetime.fromtimestamp(opened, timezone.utc).isoformat()


@pytest.mark.only_on("embedded", "debian")
def test_rejected_slowest_and_changed(world: World) -> None:
    world.collector.write("EURUSD", [bar(MONDAY), bar(MONDAY + 300, tema="much"), bar(MONDAY + 600, tema="more")])
    world.sync()
    assert rows(world, "@rejected") == [
        {
            **{"symbol": "eurusd", "column_name": "tema", "left_out": "value", "reason": "not a number"},
            **{"rejects": 2, "newest_bar": iso(MONDAY + 600), "newest_original": "more"},
        }
    ]
    world.execute(
        "update ops.sync_runs set started_at = finished_at - interval '1 hour', command = 'slow'"
        " where run_id = (select max(run_id) from ops.sync_runs)"
    )
    slowest = rows(world, "@slowest_runs")
    assert (slowest[0]["command"], slowest[0]["seconds"], slowest[0]["rows_read"]) == ("slow", 3600.0, 3)
    assert len(slowest) == world.query("select count(*) from ops.sync_runs")[0][0]
    world.execute("update public.eurusd_m15 set synced_at = now() - interval '61 minutes'")
    changed = rows(world, "@changed_last_hour")
    assert {row["table_name"]: row["rows_changed"] for row in changed} == {
        **{"eurusd_m5": 3, "eurusd_m30": 1, "eurusd_h1": 1, "eurusd_h2": 1},
        **{"eurusd_h4": 1, "eurusd_h8": 1, "eurusd_h12": 1, "eurusd_d1": 1},
    }


# --- the shell ---------------------------------------------------------------------------------


def test_the_shell_reads_a_pipe(world: World) -> None:
    world.collector.load_many("EURUSD", series(MONDAY, 3))
    done = piped(
        world,
        "select count(*)\n  as counted -- not yet;\nfrom mt5.EURUSD;\n@slowest_runs\nselect ';' as a; select 2 as b;\n"
        ".tables\nselect 'last' as c",
    )
    assert (done.returncode, done.stderr) == (0, "")
    for expected in ("counted", "run_id", "mt5", "eurusd_h1", "last"):
        assert expected in done.stdout
    assert "tradehouse>" not in done.stdout
    assert "mt5_file" not in done.stdout


def test_the_shell_goes_on_after_an_error_and_quits(world: World) -> None:
    done = piped(
        world, "from nowhere;\ndelete from wh.eurusd_m5;\n@nothing\nselect 41 + 1 as n;\n.quit\nselect 'never';\n"
    )
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["error:"] * 3
    assert "42" in done.stdout
    assert "never" not in done.stdout
