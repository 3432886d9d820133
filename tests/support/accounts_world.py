"""A pipeline under test whose source is the fake account service, and an oracle for what it makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.collector import Collector
from tests.support.fake_mt5 import KEY, FakeMt5
from tests.support.rest_world import RestWorld


@dataclass
class AccountsWorld(RestWorld[FakeMt5]):
    """A world whose source is a fake account service."""

    secrets: tuple[str, ...] = (KEY,)

    def accounts(self, *arguments: str, code: int = 0) -> str:
        """Run `tradehouse accounts …`, demand its exit code and that no secret shows; return what it says of it.

        That is stdout, and stderr where it could not run.
        """
        done = self.call("accounts", *arguments, code=code)
        return done.stdout if code != 2 else done.stderr

    def poll(self, code: int = 0) -> dict[str, dict[str, Any]]:
        """One sync; its results by account."""
        summary = json.loads(self.accounts("sync", "--json", code=code))
        statuses = {result["status"] for result in summary["syncResults"]}
        assert summary["success"] == (not statuses or bool(statuses & {"success", "partial"}))
        assert (code == 0) == (statuses <= {"success"})
        assert {result["executionId"] for result in summary["syncResults"]} <= {str(UUID(summary["executionId"]))}
        return {result["account_id"]: result for result in summary["syncResults"]}

    def register(self, *accounts: str) -> None:
        """Register accounts, in this order, without the command for each."""
        if self.query("select to_regclass('accounts.registered_accounts') is null") == [(True,)]:
            self.accounts("list")
        names = ", ".join(f"'{account}'" for account in accounts)
        self.execute(
            "insert into accounts.registered_accounts (id, created_at)"
            " select id, now() + number * interval '1 millisecond'"
            f" from unnest(array[{names}]::text[]) with ordinality as given (id, number)"
        )

    def trades(self, account: str) -> dict[str, dict[str, Any]]:
        """Ticket -> the account's trade, without its stamp."""
        found = self.query("select ticket, to_jsonb(trades) from accounts.trades where account_id = %s", account)
        return dict(found)

    def statuses(self, account: str) -> dict[str, str]:
        """Ticket -> status."""
        return {ticket: row["status"] for ticket, row in self.trades(account).items()}

    def standing(self, account: str) -> tuple[Any, ...]:
        """Balance, failure count and error of an account."""
        [row] = self.query(
            "select balance, sync_failure_count, last_connection_error from accounts.trading_accounts"
            " where account_id = %s",
            account,
        )
        return row

    def check_against(self, served: Mapping[str, Mapping[str, Any]]) -> None:
        """Demand that the marts are what was served: account -> info, positions, history.

        Every position that is no longer served has to be in the history. What is expected is worked out here anew, of
        what the fake was given, with none of the pipeline's code.
        """
        expected: dict[tuple[str, str], tuple[Any, ...]] = {}
        for account, content in served.items():
            for each in content["positions"]:
                expected[account, str(each["ticket"])] = (
                    "open",
                    Decimal(str(each["volume"])),
                    Decimal(str(each["profit"])),
                    Decimal(str(each["current_price"])),
                    None,
                )
            still_open = {each["ticket"] for each in content["positions"]}
            for ticket in {each.get("position_id", each["ticket"]) for each in content["history"]} - still_open:
                parts = [each for each in content["history"] if each.get("position_id", each["ticket"]) == ticket]
                volumes = [Decimal(str(part["volume"])) for part in parts]
                values = [Decimal(str(part["volume"])) * Decimal(str(part["close_price"])) for part in parts]
                volume = sum(volumes, Decimal(0))
                expected[account, str(ticket)] = (
                    "closed",
                    volume,
                    sum((Decimal(str(part["profit"])) for part in parts), Decimal(0)),
                    None,
                    (sum(values, Decimal(0)) / volume).quantize(Decimal("1e-12")),
                )
        rows = self.query(
            "select account_id, ticket, status, volume, profit, current_price, round(close_price, 12)"
            " from accounts.trades"
        )
        assert {(account, ticket): tuple(rest) for account, ticket, *rest in rows} == expected
        assert dict(self.query("select account_id, balance from accounts.trading_accounts")) == {
            account: Decimal(str(content["info"]["balance"])) for account, content in served.items()
        }


@contextmanager
def accounts_world_on(uri: str, home: Path, directory: Path) -> Iterator[AccountsWorld]:
    """A warehouse and a service without accounts."""
    with FakeMt5() as fake:
        yield AccountsWorld(directory, home, uri, Collector(directory / "none.db"), fake=fake)
