"""The unattended service of MT5 accounts: a sync on a steady tick, five minutes apart by default."""

from __future__ import annotations

from dataclasses import dataclass

from extract.rest_service import RestService
from extract.sources.accounts.source import AccountsResult, sync_accounts
from extract.unattended import log


@dataclass(kw_only=True)
class AccountsService(RestService):
    """Syncs until told to stop."""

    def _tick(self, started: float) -> None:
        with self._enduring("cycle"):
            self._report(self._persistently(started + self.every, self._sync))

    def _sync(self) -> AccountsResult:
        result = sync_accounts(
            self.source,
            "accounts run",
            "scheduled",
            budget=self.source.settings.mt5_sync_budget_seconds,
            tests=self._tests_are_due,
            stop=self.stop,
        )
        self._note_tests(result.transform)
        return result

    def _report(self, result: AccountsResult) -> None:
        """Log what was done, and each account's trouble when it comes and when it goes."""
        troubles = {f"account {each.account_id}": each.error_message for each in result.accounts if each.error_message}
        told = {f"account {each.account_id}" for each in result.accounts if each.status != "skipped"}
        troubles |= result.transform.failed
        if result.transform.tested:
            told |= {name for name in self._trouble if not name.startswith("account ")}
        self._tell(troubles, told)
        log.info(
            "%s in %.2f s: %d accounts, %d success, %d partial, %d failed, %d skipped, %d rows changed%s",
            "done" if result.ok else "partial",
            result.seconds,
            len(result.accounts),
            *map(result.count, ("success", "partial", "failed", "skipped")),
            result.rows_changed,
            f", {result.transform.tests_passed} tests passed" if result.transform.tested else "",
        )
