"""A warehouse for trades alone: executions go straight into staging, and dbt or the refresh functions do the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from extract.refresh import refresh
from tests.support.dbt_in_process import DbtInProcess
from tests.support.fifo_oracle import Execution, Ledger, cut, match

BOTS = ("shortseller_001", "lxalgo_001", "momentum_001")
BOT = BOTS[0]
START = datetime(2025, 1, 6, tzinfo=timezone.utc)
TABLES = ("int_bybit__fills", "completed_trades")
MODELS = ("--select", "tag:bybit", "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
TRADE_VALUES = (
    "entry_side, exit_side, entry_qty, entry_price, exit_price, entry_time, exit_time, entry_reason, exit_reason,"
    " entry_attributed_by, exit_attributed_by, entry_commission, exit_commission, gross_pnl, net_pnl, pnl_pct,"
    " total_commission, holding_duration_seconds, position_side, position_mode, kind"
)


@dataclass
class House:
    """A warehouse with the Bybit models built, and what has landed in it."""

    connection: psycopg2.extensions.connection
    dbt: DbtInProcess
    landed: dict[tuple[str, str], Execution] = field(default_factory=dict)
    batch: datetime = START

    def empty(self) -> None:
        """As before anything has landed."""
        self.landed.clear()
        self.execute("truncate staging.bybit_executions, staging.int_bybit__fills, trading.completed_trades")

    def land(self, executions: Sequence[Execution]) -> None:
        """Land a batch; an execution that is there already is corrected."""
        self.batch += timedelta(seconds=1)
        self.landed.update({(each.account, each.exec_id): each for each in executions})
        with self.connection.cursor() as cursor:
            execute_values(
                cursor,
                "insert into staging.bybit_executions"
                " (exec_id, category, exec_time, payload, extracted_at, account_uid) values %s"
                " on conflict (account_uid, exec_id) do update set category = excluded.category,"
                " exec_time = excluded.exec_time, payload = excluded.payload, extracted_at = excluded.extracted_at",
                [
                    (each.exec_id, each.category, each.exec_time, json.dumps(each.payload), self.batch, each.account)
                    for each in {(each.account, each.exec_id): each for each in executions}.values()
                ],
            )

    def increment(self) -> None:
        """Run the increments, as a run does."""
        result = refresh(self.connection, TABLES)
        assert result.built == list(TABLES), result.problems

    def build(self) -> None:
        """Run dbt on the models."""
        self.dbt.run("build", *MODELS)

    def refresh(self) -> None:
        """Run both tables' full refresh."""
        self.dbt.run("run", "--select", *TABLES, "--full-refresh")

    def test(self) -> list[str]:
        """Run the data tests of the models; return which failed or warned."""
        statuses = self.dbt.run("test", "--select", "tag:bybit", "--exclude-resource-type", "unit_test")
        assert "pass" in statuses.values()
        return sorted(name for name, status in statuses.items() if status != "pass")

    def execute(self, sql: str) -> None:
        """Run a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def trades(self, symbol: str, columns: str = "entry_qty, entry_price, net_pnl") -> list[tuple[Any, ...]]:
        """Trades of a symbol, first exit first; numbers as text."""
        return self.query(
            f"select {columns} from trading.completed_trades where symbol = '{symbol}'"
            " order by exit_time, entry_time, trade_id"
        )

    def check(self) -> None:
        """Demand what the oracle makes of all that has landed."""
        ledger = match(self.landed.values(), BOTS)
        trades = self.query(
            "select account_uid, category, symbol, bot_id, entry_order_id, exit_order_id, "
            f"{TRADE_VALUES} from trading.completed_trades"
        )
        assert {tuple(row[:6]): row[6:] for row in trades} == expected_trades(ledger)
        assert len(trades) == len(ledger.pairs)
        lots = self.query(
            "select exec_id, bot_id, attributed_by, side, opened_qty, open_qty, commission from trading.open_lots"
        )
        assert {row[0]: row[1:] for row in lots} == ledger.open_lots
        unmatched = self.query(
            "select exec_id, bot_id, attributed_by, quantity, unmatched_qty, commission"
            " from trading.unmatched_executions where attributed_by <> 'not_a_fill'"
        )
        assert {row[0]: row[1:] for row in unmatched} == ledger.unmatched

        matched = sum(2 * row[8] for row in trades)
        accounted_for = matched + sum(row[5] for row in lots) + sum(row[4] for row in unmatched)
        assert accounted_for == ledger.traded
        fees = sum(row[22] for row in trades) + sum(row[6] for row in lots) + sum(row[5] for row in unmatched)
        assert fees == ledger.fees_paid
        disagreements = self.query(
            "select exec_id from staging.int_bybit__fills where not is_void and account_closed <> exchange_closed"
        )
        found = {exec_id for (exec_id,) in disagreements}
        assert found == ledger.disagreements, found ^ ledger.disagreements

    def rows(self) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Both tables, without what tells only when rows were computed, and without void rows."""
        return (
            self.query(
                "select to_jsonb(f) - 'settled_at' from staging.int_bybit__fills as f where not is_void"
                " order by account_uid, category, symbol, exec_time, seq, exec_id"
            ),
            self.query(
                "select to_jsonb(t) - '{created_at,updated_at}'::text[] from trading.completed_trades as t"
                " order by trade_id"
            ),
        )


def expected_trades(ledger: Ledger) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """The oracle's pairs as rows of TRADE_VALUES."""
    rows: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for key, pair in ledger.pairs.items():
        net = pair.gross - pair.entry_commission - pair.exit_commission
        ((entry_side, exit_side),) = pair.sides
        entry_reasons, exit_reasons = zip(*pair.reasons, strict=True)
        entry_found, exit_found = zip(*pair.attributed, strict=True)
        opened, closed = min(pair.entry_times), max(pair.exit_times)
        rows[key] = (
            *(entry_side, exit_side, pair.quantity),
            *(cut(pair.entry_value, pair.quantity), cut(pair.exit_value, pair.quantity), opened, closed),
            *(min(entry_reasons), min(exit_reasons), min(entry_found), min(exit_found)),
            *(pair.entry_commission, pair.exit_commission, pair.gross, net),
            cut(net * 100, pair.invested) if pair.invested else None,
            pair.entry_commission + pair.exit_commission,
            Decimal(str((closed - opened).total_seconds())),
            "long" if entry_side == "Buy" else "short",
            max(pair.modes),
            "moved" if pair.moved else "trade",
        )
    return rows


def fill(number: int, side: str, quantity: object, price: object, **more: Any) -> Execution:
    """The execution of that number: one a minute, each of an order of its own, of the first bot."""
    category = more.pop("category", "linear")
    minute = more.pop("minute", number)
    account = more.pop("account", "main")
    payload = {
        "symbol": "BTCUSDT",
        "orderId": f"order-{number}",
        "orderLinkId": f"{BOT}:{side.lower()}:1736121600",
        "side": side,
        "execPrice": str(price),
        "execQty": str(quantity),
        "execFee": "0",
        "feeCurrency": "USDT",
        "execType": "Trade",
        "closedSize": "",
        "createType": "CreateByUser",
        "stopOrderType": "",
        "isMaker": False,
        "seq": number,
    }
    return Execution(f"e{number:04d}", category, START + timedelta(minutes=minute), payload | more, account)
