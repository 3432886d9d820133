"""An increment of the trades reads what has changed and what follows it, not all that there is."""

from __future__ import annotations

from tests.support.fifo_oracle import Execution
from tests.support.trade_house import House, fill

HISTORY = 3000  # fills of a symbol, in turn bought and sold
READ = (
    "select relname, seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables"
    " where relname in ('bybit_executions', 'int_bybit__fills', 'completed_trades')"
)


def turns(symbol: str) -> list[Execution]:
    return [fill(n, "Buy" if n % 2 else "Sell", 1, 100 + n % 7, symbol=symbol) for n in range(1, HISTORY + 1)]


def rows_read(house: House) -> dict[str, tuple[int, int]]:
    """Of an increment: table -> (rows read by scanning it, rows fetched by index).

    Tables as small as these are scanned where large ones are not; without scans the plan is that of large ones.
    """
    house.execute("begin")
    house.execute("set local enable_seqscan = off")
    house.execute("discard plans")
    # the view also counts what the statistics have not yet taken over from earlier transactions
    before = {name: (scanned, fetched) for name, scanned, fetched in house.query(READ)}
    house.execute("select refresh.int_bybit__fills()")
    house.execute("select refresh.completed_trades()")
    after = house.query(READ)
    house.execute("commit")
    return {name: (scanned - before[name][0], fetched - before[name][1]) for name, scanned, fetched in after}


def test_a_new_fill_costs_the_same_however_long_the_history_is(house: House) -> None:
    house.land([*turns("LONGUSDT"), *turns("OTHERUSDT")])
    house.increment()
    house.land([fill(HISTORY + 1, "Buy", 1, 100, symbol="LONGUSDT")])
    house.increment()
    house.land([fill(HISTORY + 2, "Sell", 1, 110, symbol="LONGUSDT")])
    read = rows_read(house)
    assert {name: scanned for name, (scanned, _) in read.items()} == dict.fromkeys(read, 0)
    assert sum(fetched for _, fetched in read.values()) < 100, read
    house.check()


def test_a_late_fill_reads_what_follows_it_and_types_nothing_again(house: House) -> None:
    house.land([*turns("LONGUSDT"), *turns("OTHERUSDT")])
    house.increment()
    late = 100  # fills before the end
    house.land([fill(HISTORY + 1, "Buy", 1, 100, symbol="LONGUSDT", minute=HISTORY - late)])
    read = rows_read(house)
    assert {name: scanned for name, (scanned, _) in read.items()} == dict.fromkeys(read, 0)
    assert read["bybit_executions"][1] < 10, "executions that have not changed were read"
    assert sum(fetched for _, fetched in read.values()) < 40 * late, read
    house.check()
