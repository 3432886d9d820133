"""An MT5 account service of our own: a real HTTP server in its own process that can be told to misbehave.

It checks the key, gives history by time of closing, newest first and at most 1,000 trades a page, and treats each
account and endpoint as it is told.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.fake_service import FakeHandler, FakeService, serve

KEY = "kEyOfTheAccountServiceThatNobodyMaySee"
ENDPOINTS = ("info", "positions", "history")
LARGEST_PAGE = 1000

Item = Mapping[str, Any]


def info(balance: Any = 10_000.0, **overrides: Any) -> dict[str, Any]:
    """`data` of an info reply."""
    number = balance if isinstance(balance, int | float) else 0.0
    return {
        "balance": balance,
        "equity": number + 12.5,
        "margin": 100.25,
        "free_margin": number - 87.75,
        "margin_level": 9987.5,
        "currency": "USD",
        "leverage": 100,
        "profit": 12.5,
        "credit": 0.0,
        "positions_count": 1,
        **overrides,
    }


def position(ticket: int, **overrides: Any) -> dict[str, Any]:
    """An item of `positions`."""
    return {
        "ticket": ticket,
        "symbol": "EURUSD",
        "type": "buy",
        "volume": 1.0,
        "open_price": 1.1,
        "current_price": 1.105,
        "sl": 1.09,
        "tp": 0.0,
        "profit": 500.0,
        "swap": -1.2,
        "commission": -7.0,
        "magic": 0,
        "comment": "",
        "open_time": iso(time.time() - 7200),
        **overrides,
    }


def trade(ticket: int, closed: float | None = None, **overrides: Any) -> dict[str, Any]:
    """A row of the history, closed at Unix seconds, by default half an hour ago."""
    closed = time.time() - 1800 if closed is None else closed
    return {
        "ticket": ticket,
        "symbol": "EURUSD",
        "type": "buy",
        "volume": 1.0,
        "open_price": 1.1,
        "open_time": iso(closed - 3600),
        "close_price": 1.106,
        "close_time": iso(closed),
        "profit": 600.0,
        "swap": -1.2,
        "commission": -7.0,
        "comment": "",
        **overrides,
    }


def iso(seconds: float) -> str:
    """Unix seconds as the service writes a moment."""
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class FakeMt5(FakeService):
    """The parent's end: starts the server, fills it, breaks it, and asks what it has seen."""

    module = "tests.support.fake_mt5"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a client that has the right key."""
        return {"MT5_SERVICE_URL": self.url, "MT5_SERVICE_API_KEY": KEY}

    def account(
        self,
        account: str,
        info: Item | None = None,
        positions: Sequence[Any] | None = None,
        history: Sequence[Any] | None = None,
    ) -> None:
        """Say from now on what is given of an account; the rest stays."""
        self._ask("account", account, info, positions, history)

    def generate(self, accounts: Iterable[str], positions: int, trades: int) -> None:
        """Give accounts so many positions and past trades each."""
        self._ask("generate", list(accounts), positions, trades)

    def move_all(self, profit: float) -> None:
        """Let every open position of every account be so much better off."""
        self._ask("move_all", profit)

    def treat(
        self, account: str = "*", endpoint: str = "*", /, times: int = 1_000_000_000, after: int = 0, **fault: Any
    ) -> None:
        """Treat requests like this, so many times after so many that are well; without a fault, all is well again.

        `status` (with `headers`, `body`), `body`: this text. `delay`: seconds before the reply. `cut`: the connection
        breaks off within the reply. `hang_up`: no reply at all. `flood`: so many bytes. `dribble`: `headers` or `body`
        come a byte at a time, without end. `blanks`: so many, with the `encodings`. `endless`: a history of ever more
        pages of so many trades. `bare`: a history without `pagination`.
        `page`: a history's pages have so many trades at most. `shift`: so many come in behind the first page.
        """
        self._ask("treat", account, endpoint, after, times if fault else 0, fault)

    def requests(self) -> list[str]:
        """Path and query of the requests since the last call of this."""
        return list(self._ask("requests"))

    def authorizations(self) -> list[str]:
        """The headers Authorization of the requests since the last call of this, where they had any."""
        return list(self._ask("authorizations"))

    @property
    def most_at_once(self) -> int:
        """How many requests were under way at once, at most."""
        return int(self._ask("most_at_once"))


# --- the child's side ------------------------------------------------------------------------


@dataclass
class Account:
    """What the server says of one."""

    info: Item = field(default_factory=info)
    positions: Sequence[Any] = ()
    history: Sequence[Any] = ()


@dataclass
class State:
    """What the server knows; the handlers of several connections share it."""

    accounts: dict[str, Account] = field(default_factory=dict)
    faults: dict[tuple[str, str], tuple[int, int, dict[str, Any]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def perform(self, name: str, *arguments: Any) -> Any:
        with self.lock:
            if name == "account":
                known = self.accounts.setdefault(arguments[0], Account())
                for field_name, value in zip(ENDPOINTS, arguments[1:], strict=True):
                    if value is not None:
                        setattr(known, field_name, value)
            elif name == "generate":
                for account in arguments[0]:
                    self.accounts[account] = generated(account, *arguments[1:])
            elif name == "move_all":
                for known in self.accounts.values():
                    known.positions = [{**each, "profit": each["profit"] + arguments[0]} for each in known.positions]
            elif name == "treat":
                account, endpoint, *rest = arguments
                self.faults[account, endpoint] = tuple(rest)
            elif name == "requests":
                seen, self.requests = self.requests, []
                return seen
            elif name == "authorizations":
                given, self.authorizations = self.authorizations, []
                return given
            elif name == "most_at_once":
                return self.most_at_once
            else:
                raise ValueError(name)
        return None

    def fault(self, account: str, endpoint: str) -> dict[str, Any]:
        """How to treat this request."""
        for key in ((account, endpoint), (account, "*"), ("*", endpoint), ("*", "*")):
            after, times, fault = self.faults.get(key, (0, 0, {}))
            if times > 0:
                self.faults[key] = (after - 1, times, fault) if after else (0, times - 1, fault)
                return {} if after else fault
        return {}


def generated(account: str, positions: int, trades: int) -> Account:
    """An account with so many positions and past trades, the same for the same name."""
    draw = random.Random(account)
    now = time.time()
    prices = [round(draw.uniform(1.0, 1.2), 5) for _ in range(20)]
    return Account(
        info(balance=round(draw.uniform(100, 100_000), 2)),
        [position(1 + number, open_price=draw.choice(prices)) for number in range(positions)],
        [
            trade(1_000_000 + number, now - 25 * 86_400 * (number + 1) / (trades + 1), close_price=draw.choice(prices))
            for number in range(trades)
        ],
    )


class Handler(FakeHandler):
    """One connection."""

    state: State

    def answer(self) -> None:
        """Answer, or not."""
        state, url = self.state, urlsplit(self.path)
        parts = url.path.split("/")
        account, endpoint = (unquote(parts[4]), parts[5]) if len(parts) == 6 else ("", url.path)
        with state.lock:
            state.requests.append(self.path)
            if self.headers["Authorization"]:
                state.authorizations.append(self.headers["Authorization"])
            state.under_way += 1
            state.most_at_once = max(state.most_at_once, state.under_way)
            fault = state.fault(account, endpoint)
        try:
            time.sleep(fault.get("delay", 0))
            self._answer_for(account, endpoint, parse_qs(url.query), fault)
        finally:
            with state.lock:
                state.under_way -= 1

    def _answer_for(
        self, account: str, endpoint: str, query: Mapping[str, list[str]], fault: Mapping[str, Any]
    ) -> None:
        if "hang_up" in fault:
            self.close_connection = True
        elif "dribble" in fault:
            self.dribble(fault["dribble"])
        elif "blanks" in fault:
            self.send_blanks(fault["blanks"], fault["encodings"])
        elif "flood" in fault:
            self.send_response_only(200)
            self.send_header("Content-Length", str(fault["flood"]))
            self.end_headers()
            for _ in range(fault["flood"] // 65_536):
                self.wfile.write(b" " * 65_536)
        elif "status" in fault or "body" in fault:
            self.send(fault.get("status", 200), fault.get("body", ""), fault.get("headers", {}))
        elif self.headers["X-API-Key"] != KEY:
            refusal = {"success": False, "error_code": "UNAUTHORIZED", "error_message": f"{self.headers['X-API-Key']}?"}
            self.send(401, json.dumps(refusal))
        elif endpoint == "/health":
            self.send(200, '{"status":"healthy"}')
        elif endpoint not in ENDPOINTS or account not in self.state.accounts:
            refusal = {"success": False, "error_code": "ACCOUNT_NOT_FOUND", "error_message": f"no account {account}"}
            self.send(404, json.dumps(refusal))
        else:
            content = getattr(self, f"_{endpoint}")(self.state.accounts[account], query, fault)
            if endpoint == "history" and "endless" in fault:
                content = endless(int(query["offset"][0]), fault["endless"])
            if "bare" in fault:
                content.pop("pagination", None)
            reply = {"success": True, "account_id": account, "timestamp": iso(time.time()), **content}
            self.send(200, json.dumps(reply), cut="cut" in fault)

    def _info(self, account: Account, *_: object) -> dict[str, Any]:
        return {"data": account.info}

    def _positions(self, account: Account, *_: object) -> dict[str, Any]:
        return {"positions": account.positions}

    def _history(self, account: Account, query: Mapping[str, list[str]], fault: Mapping[str, Any]) -> dict[str, Any]:
        first, last = (query[name][0] for name in ("from_date", "to_date"))
        limit, offset = (int(query[name][0]) for name in ("limit", "offset"))
        assert 1 <= limit <= LARGEST_PAGE
        found = [each for each in account.history if not isinstance(each, dict) or first <= _closed(each) <= last]
        found.sort(key=lambda each: _closed(each) if isinstance(each, dict) else "", reverse=True)
        limit = min(limit, fault.get("page", limit))
        if offset:
            found = [None] * fault.get("shift", 0) + found
        return {
            "trades": found[offset : offset + limit],
            "pagination": {"limit": limit, "offset": offset, "has_more": len(found) > offset + limit},
        }


def endless(offset: int, size: int) -> dict[str, Any]:
    """A page of a history that has no end."""
    return {
        "trades": [trade(10_000_000 + offset + number) for number in range(size)],
        "pagination": {"limit": LARGEST_PAGE, "offset": offset, "has_more": True},
    }


def _closed(item: Item) -> str:
    moment = next((item[name] for name in ("close_time", "time_close", "time") if name in item), "")
    return iso(moment) if isinstance(moment, int | float) and abs(moment) < 1e11 else str(moment)


if __name__ == "__main__":
    serve(State(), Handler)
