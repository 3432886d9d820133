"""Executions that have landed become trades: against independent numbers, and against a FIFO in plain Python."""

from __future__ import annotations

from decimal import Decimal

from tests.support.trade_house import BOT, BOTS, House, fill

# symbol: (fills as side, quantity, price; fee of each; trades as quantity, entry price, gross profit, first exit first)
INDEPENDENT: dict[str, tuple[str, str, list[tuple[str, str, str]], str]] = {
    # QuantConnect LEAN, fill to fill, first in, first out
    "LEAN1": ("B1000@1.07 B1000@1.08 S1000@1.09 B1000@1.08 S2000@1.09", "1", [
        ("1000", "1.07", "20"), ("1000", "1.08", "10"), ("1000", "1.08", "10")], "5"),
    "LEAN2": ("B1000@1.07 B2000@1.08 S1000@1.09 B1000@1.08 S3000@1.09", "1", [
        ("1000", "1.07", "20"), ("2000", "1.08", "20"), ("1000", "1.08", "10")], "5"),
    "LEAN3": ("B1000@1.07 S2000@1.08 B1000@1.09", "1", [("1000", "1.07", "10"), ("1000", "1.08", "-10")], "3"),
    # pyfolio
    "PYFOLIO1": ("B2@10 S2@15", "0", [("2", "10", "10")], "0"),
    "PYFOLIO2": ("B2@10 B2@15 S9@10", "0", [("2", "10", "0"), ("2", "15", "-10")], "0"),
    "PYFOLIO3": ("B2@10 S4@15 B3@20", "0", [("2", "10", "10"), ("2", "15", "-10")], "0"),
    "PYFOLIO4": ("B4@10 S2@15 B2@20", "0", [("2", "10", "10")], "0"),
    # beancount
    "BEANCOUNT7": ("B4@100 B5@111.11 B6@122.22 S7@122.22", "0", [
        ("4", "100", "88.88"), ("3", "111.11", "33.33")], "0"),
    "BEANCOUNT12": ("B4@100 B5@111.11 B6@122.22 S12@122.22", "0", [
        ("4", "100", "88.88"), ("5", "111.11", "55.55"), ("3", "122.22", "0")], "0"),
    "BEANCOUNT16": ("B4@100 B5@111.11 B6@122.22 S16@122.22", "0", [
        ("4", "100", "88.88"), ("5", "111.11", "55.55"), ("6", "122.22", "0")], "0"),
    # rotki: the basis of the 8 sold is 1340.5 + 1837.35
    "ROTKI": ("B5@268.1 B15@612.45 B3@603.415 S8@612.45", "0", [
        ("5", "268.1", "1721.75"), ("3", "612.45", "0")], "0"),
}  # fmt: skip


def test_independent_numbers(house: House) -> None:
    number = 0
    for symbol, (written, fee, _, _) in INDEPENDENT.items():
        for one in written.split():
            number += 1
            quantity, price = one[1:].split("@")
            side = "Buy" if one[0] == "B" else "Sell"
            surplus = {"closedSize": "16"} if one == "S16@122.22" else {}
            house.land([fill(number, side, quantity, price, symbol=symbol, execFee=fee, **surplus)])
    house.increment()
    house.check()
    found = {
        symbol: house.trades(symbol, "entry_qty::text, entry_price::text, gross_pnl::text") for symbol in INDEPENDENT
    }
    assert found == {symbol: trades for symbol, (_, _, trades, _) in INDEPENDENT.items()}
    fees = dict(
        house.query("select symbol, sum(total_commission)::int::text from trading.completed_trades group by symbol")
    )
    assert fees == {symbol: fees for symbol, (_, _, _, fees) in INDEPENDENT.items()}
    left = house.query("select symbol, sum(open_qty)::text from trading.open_lots group by symbol")
    assert dict(left) == {"PYFOLIO2": "5", "PYFOLIO3": "1", "PYFOLIO4": "4", "BEANCOUNT7": "8", "BEANCOUNT12": "3",
                          "ROTKI": "15"}  # fmt: skip
    assert house.query("select open_qty, price from trading.open_lots where symbol = 'ROTKI' order by price desc") == [
        (12, Decimal("612.45")),
        (3, Decimal("603.415")),
    ]
    assert house.query("select symbol, unmatched_qty from trading.unmatched_executions") == [("BEANCOUNT16", 1)]
    assert house.test() == []


def test_an_increment_without_anything_new_rewrites_no_row(house: House) -> None:
    house.land([fill(1, "Buy", 2, 10), fill(2, "Sell", 1, 11)])
    house.increment()
    versions = "select xmin::text, ctid::text from {} order by ctid"
    before = [house.query(versions.format(table)) for table in ("staging.int_bybit__fills", "trading.completed_trades")]
    house.increment()
    house.build()
    after = [house.query(versions.format(table)) for table in ("staging.int_bybit__fills", "trading.completed_trades")]
    assert after == before
    assert [len(rows) for rows in after] == [2, 1]


def test_a_late_fill_restates_what_follows_and_leaves_what_came_before(house: House) -> None:
    house.land([fill(1, "Buy", 1, 10), fill(2, "Sell", 1, 11), fill(4, "Buy", 1, 20), fill(5, "Sell", 1, 21)])
    house.increment()
    first_batch = house.batch
    house.land([fill(3, "Buy", 1, 15)])
    house.increment()
    house.check()
    stamps = "entry_order_id, exit_order_id, net_pnl, created_at, updated_at, synced_at"
    assert house.trades("BTCUSDT", stamps) == [
        ("order-1", "order-2", 1, first_batch, first_batch, first_batch),
        ("order-3", "order-5", 6, house.batch, house.batch, house.batch),  # order-4 with order-5 is gone
    ]
    late = house.batch
    house.land([fill(5, "Sell", 1, 22)])  # corrected
    house.increment()
    house.check()
    assert house.trades("BTCUSDT", stamps)[1] == ("order-3", "order-5", 7, late, house.batch, house.batch)


def test_a_trade_whose_last_fill_turns_out_to_be_none_disappears(house: House) -> None:
    house.land([fill(1, "Buy", 1, 10), fill(2, "Sell", 1, 11)])
    house.increment()
    house.land([fill(2, "Sell", 1, "NaN")])
    house.increment()
    house.check()
    assert house.trades("BTCUSDT") == []
    assert house.query("select exec_id, field, left_out, original from ops.rejected_executions") == [
        ("e0002", "execPrice", "execution", "NaN")
    ]
    house.land([fill(2, "Sell", 1, 12, minute=0)])  # and then moved before its entry
    house.increment()
    house.check()
    house.land([fill(2, "Sell", 1, 12, symbol="ETHUSDT")])
    house.increment()
    house.check()
    house.land([fill(2, "Sell", 1, 12)])
    house.increment()
    house.check()
    assert len(house.trades("BTCUSDT")) == 1


def test_an_exit_that_closes_more_than_is_known_opens_no_reverse_position(house: House) -> None:
    house.land(
        [
            fill(1, "Sell", 5, 10, closedSize="5"),  # the history begins inside a position
            fill(2, "Buy", 1, 11, closedSize="0"),
            fill(3, "Sell", 4, 12, closedSize="3"),  # closes 1 that is known and 2 that are not, opens 1
        ]
    )
    house.increment()
    house.check()
    columns = "exec_id, position_side, position_mode, unmatched_qty"
    assert house.query(f"select {columns} from trading.unmatched_executions order by exec_id") == [
        ("e0001", "long", "one_way", 5),
        ("e0003", "long", "one_way", 2),
    ]
    assert house.query("select side, open_qty from trading.open_lots") == [("Sell", 1)]


def test_bots_on_opposite_sides_of_one_symbol_are_not_taken_for_unknown_positions(house: House) -> None:
    other = {"orderLinkId": f"{BOTS[1]}-entry"}
    house.land([fill(1, "Buy", 3, 10, closedSize="0"), fill(2, "Sell", 2, 11, closedSize="2", **other)])
    house.increment()
    house.check()
    lots = "select bot_id, side, open_qty from trading.open_lots order by bot_id"
    assert house.query(lots) == [(BOTS[1], "Sell", 2), (BOT, "Buy", 3)]
    assert house.query("select * from trading.unmatched_executions") == []


def test_an_exit_by_the_exchange_belongs_to_the_only_bot_it_can_belong_to(house: House) -> None:
    stop = {"orderLinkId": "", "stopOrderType": "StopLoss", "createType": "CreateByStopLoss"}
    other = {"orderLinkId": f"{BOTS[1]}:entry"}
    house.land(
        [
            fill(1, "Buy", 3, 10),
            fill(2, "Sell", 1, 9, closedSize="1", **stop),
            fill(3, "Buy", 1, 10, **other),
            fill(4, "Sell", 1, 9, closedSize="1", **stop),  # of two, so of none
            fill(5, "Sell", 2, 9),
            fill(6, "Sell", 4, 9, closedSize="1", **stop),  # a stop opens nothing
        ]
    )
    house.increment()
    house.check()
    columns = "bot_id, exit_order_id, exit_qty, exit_reason, exit_attributed_by"
    assert house.trades("BTCUSDT", columns) == [
        (BOT, "order-2", 1, "stop_loss", "open_position"),
        (BOT, "order-5", 2, "sell", "link_id"),
        (BOTS[1], "order-6", 1, "stop_loss", "open_position"),
    ]
    assert house.query(
        "select exec_id, bot_id, attributed_by, unmatched_qty from trading.unmatched_executions order by exec_id"
    ) == [("e0004", "unassigned", "several_positions", 1), ("e0006", BOTS[1], "open_position", 3)]
    # one more holder at the time of the first stop, and it is nobody's any more
    house.land([fill(7, "Buy", 1, 10, minute=1, **other)])
    house.increment()
    house.check()
    assert "order-2" not in {order for _, order, *_ in house.trades("BTCUSDT", columns)}


def test_amounts_by_kind_of_contract(house: House) -> None:
    house.land(
        [
            # spot: 0.001 of the coin bought stays with the exchange, so 0.999 can be sold
            fill(1, "Buy", 1, 100, category="spot", execFee="0.001", feeCurrency="BTC"),
            fill(2, "Sell", "0.999", 110, category="spot", execFee="0.05"),
            # inverse: dollars of contract, profit and fee in coin
            fill(3, "Buy", 1000, 100, category="inverse", symbol="BTCUSD", execFee="0.002", feeCurrency="BTC"),
            fill(4, "Sell", 1000, 125, category="inverse", symbol="BTCUSD", execFee="-0.001", feeCurrency="BTC"),
        ]
    )
    house.increment()
    house.check()
    columns = "entry_qty::text, gross_pnl::text, entry_commission::text, exit_commission::text, net_pnl::text"
    assert house.trades("BTCUSDT", columns) == [("0.999", "9.99", "0.1", "0.05", "9.84")]
    assert house.trades("BTCUSD", columns + ", pnl_pct::text") == [("1000", "2", "0.002", "-0.001", "1.999", "19.99")]
    assert house.query("select * from trading.open_lots") == []


def test_what_cost_nothing_has_a_profit_and_no_percentage(house: House) -> None:
    option = {"category": "option", "symbol": "BTC-31JAN25-100000-C"}
    house.land(
        [
            fill(1, "Buy", 2, 0, **option),
            fill(2, "Sell", 2, 30, **option, execFee="0.5"),
            fill(3, "Sell", 2, 10),
            fill(4, "Buy", 2, 0),
            fill(5, "Buy", 1, 0, category="spot"),
            fill(6, "Sell", 1, 0, category="spot", execFee="0.1"),
            fill(7, "Buy", 1, 0, category="inverse", symbol="BTCUSD"),
        ]
    )
    house.increment()
    house.check()
    columns = "category, entry_price, exit_price, gross_pnl, net_pnl, pnl_pct"
    assert house.query(f"select {columns} from trading.completed_trades order by exit_time") == [
        ("option", 0, 30, 60, Decimal("59.5"), None),
        ("linear", 10, 0, 20, 20, 100),
        ("spot", 0, 0, 0, Decimal("-0.1"), None),
    ]
    assert house.query("select exec_id, field from ops.rejected_executions") == [("e0007", "execPrice")]


def test_what_is_no_fill_is_listed_or_kept_apart(house: House) -> None:
    house.land(
        [
            fill(1, "Buy", 1, 10, execType="CorporateAction"),
            fill(2, "Buy", 1, 10, execType="SomethingNew"),
            fill(3, "Buy", 1, 10, execType=None),
            fill(4, "Sell", 1, 10, execType="Funding", execFee="-0.25"),
            fill(5, "Buy", "", 10),
            fill(6, "Sell", 1, 10, closedSize="much", execFee="0.1", feeCurrency="MNT"),
        ]
    )
    house.increment()
    house.check()
    assert house.query("select exec_id, explanation from trading.unmatched_executions order by exec_id") == [
        ("e0001", "execType CorporateAction is not matched"),
        ("e0002", "execType SomethingNew is not matched"),
        ("e0003", "execType missing is not matched"),
    ]
    assert house.query("select exec_id, amount_paid from trading.funding_payments") == [("e0004", Decimal("-0.25"))]
    assert house.query("select exec_id, field, left_out, original from ops.rejected_executions order by 1, 2") == [
        ("e0005", "execQty", "execution", ""),
        ("e0006", "closedSize", "value", "much"),
        ("e0006", "feeCurrency", "value", "MNT"),
    ]
    assert house.test() == ["assert_executions_read"]
    assert house.query("select unmatched_executions, rejected_executions from trading.data_quality") == [(3, 1)]


def test_summaries(house: House) -> None:
    house.land(
        [
            *(fill(number, "Buy", 1, 200, execFee="0.5") for number in range(1, 5)),
            fill(5, "Sell", 1, 211, execFee="0.5", orderLinkId=f"{BOT}:take_profit:1736121900"),
            fill(6, "Sell", 1, 206, execFee="0.5", orderLinkId=f"{BOT}:take_profit:1736121960"),
            fill(7, "Sell", 1, 191, execFee="0.5", orderLinkId=f"{BOT}:stop_loss:1736122020"),
            fill(8, "Sell", 1, 201, execFee="0.5", orderLinkId=f"{BOT}:stop_loss:1736122080", minute=1440),
        ]
    )
    house.increment()
    counts = "total_trades, winning_trades, losing_trades, breakeven_trades, total_pnl"
    means = "round(average_pnl, 3), total_fees, average_holding_seconds, round(average_pnl_pct, 3)"
    assert house.query(
        f"select exit_date::text, {counts}, max_win, max_loss, {means}"
        " from trading.completed_trades_summary order by exit_date"
    ) == [
        ("2025-01-06", 3, 2, 1, 0, 5, 10, -10, Decimal("1.667"), 3, 240, Decimal("0.833")),
        ("2025-01-07", 1, 0, 0, 1, 0, None, None, 0, 1, 86_160, 0),
    ]
    assert house.query(
        f"select exit_reason, {counts}, win_rate_pct, {means} from trading.exit_reason_breakdown order by exit_reason"
    ) == [
        ("stop_loss", 2, 0, 1, 1, -10, 0, -5, 2, 43_200, Decimal("-2.5")),
        ("take_profit", 2, 2, 0, 0, 15, 100, Decimal("7.5"), 2, 240, Decimal("3.75")),
    ]


def test_a_trade_that_breaks_a_rule_fails_the_rules_test(house: House) -> None:
    house.land([fill(1, "Buy", 1, 10), fill(2, "Sell", 1, 11)])
    house.increment()
    assert house.test() == []
    house.execute(
        "update trading.completed_trades set trade_id = repeat('x', 101), exit_side = entry_side,"
        " exit_time = entry_time - interval '1 second', exit_qty = 2, total_commission = 1"
    )
    assert house.test() == [
        "assert_every_fill_is_accounted_for",
        "rows_hold_completed_trades_entry_qty_exit_qty_and_entry_qty_0",
        "rows_hold_completed_trades_entry_side_exit_side",
        "rows_hold_completed_trades_exit_time_entry_time",
        "rows_hold_completed_trades_length_trade_id_100",
        "rows_hold_completed_trades_net_pnl_gross_pnl_total_commission",
        "rows_hold_completed_trades_total_commission_entry_commission_exit_commission",
    ]


def test_a_new_bot_is_noticed_and_a_full_refresh_takes_it_in(house: House) -> None:
    newcomer = {"orderLinkId": "newcomer_001:entry"}
    house.land([fill(1, "Buy", 1, 10, **newcomer), fill(2, "Sell", 1, 11, **newcomer)])
    house.increment()
    assert house.trades("BTCUSDT", "bot_id") == [("unassigned",)]
    house.execute("insert into trading.bots values ('newcomer_001', 'Newcomer', 'any', 'active', 'paper')")
    assert house.test() == ["assert_fills_follow_the_list_of_bots"]
    house.refresh()
    assert house.trades("BTCUSDT", "bot_id") == [("newcomer_001",)]
    assert house.test() == []
    house.execute("delete from trading.bots where bot_id = 'newcomer_001'")


def test_runs_show_as_sync_status(house: House) -> None:
    house.execute(
        "insert into ops.sync_runs (source, command, status, started_at, finished_at, rows_changed, error,"
        " range_start, range_end) values"
        " ('mt5', 'sync', 'done', '2025-01-06 00:00Z', '2025-01-06 00:01Z', 1, null, null, null),"
        " ('bybit', 'bybit backfill', 'done', '2025-01-06 00:00Z', '2025-01-06 00:01Z', 7, null,"
        "  '2024-10-06Z', '2025-01-06Z'),"
        " ('bybit', 'bybit run', 'interrupted', '2025-01-06 01:00Z', '2025-01-06 01:00:30Z', 0, null, null, null),"
        " ('bybit', 'bybit sync', 'running', '2025-01-06 02:00Z', null, 0, null, null, null),"
        " ('bybit', 'bybit sync', 'partial', '2025-01-06 03:00Z', '2025-01-06 03:00:02Z', 3, 'not now', null, null),"
        " ('bybit', 'bybit run', 'failed', '2025-01-06 04:00Z', '2025-01-06 04:00:01Z', 0, 'away', null, null)"
    )
    columns = "sync_type, status, executions_synced, duration_seconds, error_message"
    assert house.query(f"select {columns} from trading.sync_status order by sync_started_at") == [
        ("backfill", "completed", 7, 60, None),
        ("hourly", "failed", 0, 30, "interrupted"),
        ("manual", "running", 0, None, None),
        ("manual", "partial", 3, 2, "not now"),
        ("hourly", "failed", 0, 1, "away"),
    ]
    assert house.query(
        "select start_time = '2024-10-06Z', end_time = '2025-01-06Z', sync_started_at = '2025-01-06Z',"
        " sync_completed_at = '2025-01-06 00:01Z' from trading.sync_status where sync_type = 'backfill'"
    ) == [(True, True, True, True)]
    house.execute("delete from ops.sync_runs")


def test_a_long_trade_id_is_a_digest_and_stays_the_same(house: House) -> None:
    long = [fill(1, "Buy", 1, 10, orderId="a" * 36), fill(2, "Sell", 1, 11, orderId="b" * 36)]
    house.land(long)
    house.increment()
    [(trade,)] = house.trades("BTCUSDT", "trade_id")
    assert trade.startswith(f"{BOT}:")
    assert len(trade) == len(BOT) + 1 + 64
    house.refresh()
    assert house.trades("BTCUSDT", "trade_id") == [(trade,)]
    assert house.query("select trade_id from trading.completed_trades where length(trade_id) > 100") == []
