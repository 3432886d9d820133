"""The collector in a stand-in terminal: what its rounds write, and what they bear."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from collector.simulator import JSON_COLUMNS, write_demo_data
from tests.integration.collector.conftest import WEDNESDAY
from tests.support.mql5.checks import TABLES, check, expected_rows, query, stored_rows
from tests.support.mql5.expected import COLUMNS_OF, differences
from tests.support.mql5.terminal import INDICATORS, ROOT, Terminal

SCHEMA = ROOT / "sql" / "sqlite_schema.sql"
TEXTS = "fractals || horizontal_trendlines || diagonal_trendlines || momentum_candles || keltner_channels || zigzag"


def without(rows: dict[int, dict[str, object]], *indicators: str) -> dict[int, dict[str, object]]:
    """The rows with nothing in the columns of some indicators."""
    empty = {column: None for indicator in indicators for column in COLUMNS_OF[indicator]}
    return {time: row | empty for time, row in rows.items()}


def test_the_file_holds_what_the_market_had(terminal: Terminal) -> None:
    journal = terminal.run()
    expected = check(terminal)
    assert all(len(rows) == 602 for rows in expected.values())  # two bars have opened since the start
    # the bar that was forming at the start has closed, and the one at the stop is half done
    assert max(expected["EURUSD"]) == WEDNESDAY + 300
    # empty values of all kinds were there, and are NULL: 0.0 and NaN of the averages, 0.0 of the bands
    averages = "sum(tema is null), sum(tema = 0), sum(abs(tema) > 1e300), sum(keltner_channels is null)"
    (nulls, zeros, huge, bands) = query(terminal, f"select {averages} from EURUSD")[0]
    assert (nulls > 30, zeros, huge, bands >= 20) == (True, 0, 0, True)
    texts = [text for (text,) in query(terminal, f"select {TEXTS} from EURUSD where keltner_channels is not null")]
    assert not [text for text in texts if '":]' in text or "inf" in text or "nan" in text]
    assert any('":[]' in text for text in texts)
    assert max(len(digits) for text in texts for digits in re.findall(r"\d+", text)) == 10  # a time
    assert query(terminal, "pragma journal_mode") == [("wal",)]
    assert "trading_data.db is open, journal mode wal" in journal
    # an indicator is made once for a symbol, not in each round
    assert re.findall(r"iCustom \S+ (\d+)", journal) == ["1"] * 12
    assert not list((terminal.directory / "files").iterdir())


def test_tables_have_the_columns_of_the_project_s_schema(terminal: Terminal) -> None:
    with closing(sqlite3.connect(terminal.file)) as connection:
        connection.execute("create table EURUSD (timestamp integer primary key, open real not null,"
                           " high real not null, low real not null, close real not null, old text)")  # fmt: skip
        connection.execute("insert into EURUSD values (0, 1, 1, 1, 1, 'kept')")
        connection.commit()
    terminal.run(stop=WEDNESDAY + 5)
    with closing(sqlite3.connect(":memory:")) as schema:
        schema.executescript(SCHEMA.read_text(encoding="utf-8"))
        columns = "select name, lower(type), \"notnull\", pk from pragma_table_info('{}')"
        assert query(terminal, columns.format("XAUUSD")) == schema.execute(columns.format("XAUUSD")).fetchall()
        # an older table gains what it lacks, and keeps what it has
        names = [name for name, *_ in query(terminal, columns.format("EURUSD"))]
        assert set(names) == {"old", *(name for name, *_ in schema.execute(columns.format("EURUSD")))}
    assert query(terminal, "select old from EURUSD where timestamp = 0") == [("kept",)]
    tables = query(terminal, "select name from sqlite_master where type = 'table' order by name")
    assert tables == [("EURUSD",), ("XAUUSD",)]


def dialect(rows: list[tuple[str, ...]]) -> dict[str, set[str]]:
    """Column -> what its JSON looks like: the names of its lists, and their items with each number as its decimals."""
    shapes: dict[str, set[str]] = {}
    for column, text in ((column, text) for row in rows for column, text in zip(JSON_COLUMNS, row, strict=True)):
        read = json.loads(
            text.replace('":]', '":[]'),
            parse_float=lambda number: f"{len(number.partition('.')[2])} decimals",
            parse_int=lambda _: "whole",
        )
        named = {"": read} if isinstance(read, list) else read
        lists = [each for each in named.values() if isinstance(each, list)]
        shape = json.dumps(read if not lists else list(named))
        shapes.setdefault(column, set()).update({shape}, (json.dumps(item) for each in lists for item in each))
    return shapes


def test_the_simulator_writes_the_same_dialect(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(begin=WEDNESDAY - 1000 * 300, stop=WEDNESDAY + 5)
    simulated = tmp_path / "demo.db"
    end = datetime(2025, 1, 8, 12, 3, tzinfo=timezone.utc)
    write_demo_data(simulated, symbols=["EURUSD"], days=4, end=end, schema_sql=SCHEMA)
    newest = (
        f"select {', '.join(JSON_COLUMNS)} from EURUSD where keltner_channels not like '%null%'"
        " order by timestamp desc limit 20"
    )
    with closing(sqlite3.connect(simulated)) as connection:
        theirs = dialect(connection.execute(newest).fetchall())
    ours = dialect(query(terminal, newest))
    assert '{"time": "whole", "price": "5 decimals"}' in ours["fractals"] & ours["diagonal_trendlines"]
    assert '{"time": "whole", "type": "whole", "zscore": "4 decimals"}' in ours["momentum_candles"]
    assert {column: len(shapes) for column, shapes in ours.items()} == {
        column: 1 if column == "keltner_channels" else 2 for column in JSON_COLUMNS
    }
    assert theirs == ours


def test_a_terminal_that_was_away_catches_up(terminal: Terminal) -> None:
    terminal.run()
    forming = query(terminal, f"select close from EURUSD where timestamp = {WEDNESDAY + 300}")
    later = WEDNESDAY + 6 * 3600
    terminal.run(start=later, stop=later + 90)
    check(terminal)
    assert query(terminal, f"select close from EURUSD where timestamp = {WEDNESDAY + 300}") != forming
    # no more than the input says: what lies before stays away
    newest = later + 86_400
    terminal.run(start=newest, stop=newest + 90, input_MaxCatchUpBars=20)
    expected, found = expected_rows(terminal)["EURUSD"], stored_rows(terminal)["EURUSD"]
    bars = sorted(expected)
    written = [time for time in bars if time <= later or time in bars[-20:]]
    assert differences({time: expected[time] for time in written}, found | {later: expected[later]}) == []
    assert sorted(found) == written


def test_missing_indicators_leave_their_columns_empty_and_are_named_once(terminal: Terminal) -> None:
    journal = terminal.run(absent=f"{INDICATORS['keltner']},{INDICATORS['fractals']}", input_ZigzagName="")
    for table, rows in expected_rows(terminal).items():
        assert differences(without(rows, "keltner", "fractals", "zigzag"), stored_rows(terminal)[table]) == []
    for name in TABLES:
        said = re.findall(rf"^{re.escape(name)}: indicator '(.+)' cannot be created, error 4802", journal, re.MULTILINE)
        assert sorted(said) == sorted([INDICATORS["keltner"], INDICATORS["fractals"]])
    assert journal.count("terminal: iCustom Keltner") == len(TABLES)  # asked for once a symbol


@pytest.mark.parametrize("kind", ["short", "failing"])
def test_a_late_indicator_is_waited_for_where_there_is_much_to_write(terminal: Terminal, kind: str) -> None:
    late = {kind: INDICATORS["momentum"], f"{kind}_until": WEDNESDAY + 150}
    terminal.run(**late, stop=WEDNESDAY + 145)
    assert query(terminal, "select count(*) from EURUSD") == [(0,)]
    terminal.run(**late)
    check(terminal)


def test_an_indicator_that_stays_late_holds_nothing_up(terminal: Terminal) -> None:
    late = {"failing": INDICATORS["averages"], "failing_until": WEDNESDAY + 900}
    journal = terminal.run(**late, stop=WEDNESDAY + 600)
    for table, rows in expected_rows(terminal).items():
        assert differences(without(rows, "averages"), stored_rows(terminal)[table]) == []
    assert journal.count(f"indicator '{INDICATORS['averages']}' is not calculated") == len(TABLES)
    # a service that runs on writes the columns once they are there, for all the bars that lack them
    terminal.file.unlink()
    terminal.run(**late, stop=WEDNESDAY + 1000)
    check(terminal)


def test_a_late_indicator_does_not_empty_what_is_there(terminal: Terminal) -> None:
    terminal.run()
    later = WEDNESDAY + 1200
    terminal.run(start=later, stop=later + 90, failing=INDICATORS["zigzag"], failing_until=later + 90)
    for table, rows in expected_rows(terminal).items():
        new = {time: row for time, row in rows.items() if time > WEDNESDAY + 300}
        old = {time: row for time, row in rows.items() if time < WEDNESDAY + 300}
        found = stored_rows(terminal)[table]
        assert len(new) == 3
        assert differences(old | without(new, "zigzag"), {time: found[time] for time in [*old, *new]}) == []
        assert found[WEDNESDAY + 300]["zigzag"] is not None


def test_a_bar_that_opens_between_two_calls_shifts_nothing(terminal: Terminal) -> None:
    tables = {"EURUSD": "EURUSD"}
    for call in (1, 2, 20, 41):  # the first, for rates; the first of a buffer, one in the middle, the second for rates
        terminal.file.unlink(missing_ok=True)
        terminal.run(symbols="EURUSD:5:1.085", jump_at_copy=call, input_MaxCatchUpBars=50)
        expected, found = expected_rows(terminal, tables)["EURUSD"], stored_rows(terminal, tables)["EURUSD"]
        newest = sorted(expected)[-len(found) :]
        assert len(newest) >= 50
        assert differences({time: expected[time] for time in newest}, found) == [], call


def test_a_file_that_is_held_is_tried_again(terminal: Terminal) -> None:
    terminal.run(stop=WEDNESDAY + 5)
    with closing(sqlite3.connect(terminal.file, isolation_level=None)) as holder:
        holder.execute("begin immediate")
        # the stop comes while SQLite waits: the terminal would kill a service that runs on for three seconds
        journal = terminal.run(start=WEDNESDAY + 60, stop=WEDNESDAY + 62)
        assert "EURUSD: nothing is written, error 5605, another program holds the file; it is tried again" in journal
        running = terminal.start(start=WEDNESDAY + 60, stop=WEDNESDAY + 600)
        assert running.stdout is not None
        assert any(line == "terminal: busy\n" for line in running.stdout)  # the first try has ended
        holder.execute("commit")
        journal, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "nothing is written" not in journal
    check(terminal)


def test_a_full_disk_is_told_once_and_nothing_is_lost(terminal: Terminal) -> None:
    journal = terminal.run(fail_code=5613, fail_from=WEDNESDAY + 60, fail_until=WEDNESDAY + 400)
    for name in TABLES:
        assert journal.count(f"{name}: nothing is written, error 5613, the disk is full; it is tried again") == 1
    check(terminal)


def test_a_terminal_that_refuses_pragmas_writes_all_the_same(terminal: Terminal) -> None:
    journal = terminal.run(refuses_pragmas=1)
    assert journal.count("PRAGMA busy_timeout=1000: error 5601") == 1
    assert journal.count("pragma_table_info('EURUSD') where name = 'timestamp': error 5601") == 1
    assert "trading_data.db is open, journal mode delete: readers and terminals will wait for each other" in journal
    check(terminal)


def test_a_terminal_without_connection_or_bars_waits(terminal: Terminal) -> None:
    journal = terminal.run(connected_from=WEDNESDAY + 100, rates_from=WEDNESDAY + 200)
    assert journal.count("the time of the trade server is not known yet") == 1
    assert journal.count("the terminal has no bars yet") == len(TABLES)
    check(terminal)


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("DatabaseName", r"C:\MT5Data\trading_data.db", "a terminal opens files below MQL5\\Files"),
        ("DatabaseName", "/srv/trading_data.db", "a terminal opens files below MQL5\\Files"),
        ("DatabaseName", r"..\trading_data.db", "a terminal opens files below MQL5\\Files"),
        ("ServerUtcOffset", "2h", "give auto, or minutes"),
        ("ServerUtcOffset", "900", "give auto, or minutes"),
        ("IntervalSeconds", "0", "have to be at least 1"),
        ("Timeframe", "0", "there is no current timeframe"),
        ("LinePeaks", "4;5;6", "LinePeaks '4;5;6': give the numbers of buffers"),
        ("KeltnerBands", "0,1,2", "KeltnerBands '0,1,2': give 10 numbers of buffers"),
        ("SymbolList", "DAX40", "DAX40: none of the project's symbols"),
    ],
)
def test_an_input_that_cannot_be_right_is_one_line(terminal: Terminal, setting: str, value: str, told: str) -> None:
    journal = terminal.run(**{f"input.{setting}": value})
    assert told in journal
    assert "is open" not in journal
    assert not terminal.file.exists()


def test_the_file_can_be_the_terminal_s_own(terminal: Terminal) -> None:
    terminal.run(input_CommonFolder="false", input_DatabaseName="mine.db", stop=WEDNESDAY + 5)
    assert (terminal.directory / "files" / "mine.db").exists()
    assert not terminal.file.exists()
