"""Upstox over REST (v2 and v3): requests, and the meaning of the replies.

Source of the rules: Upstox's API documentation, "Historical Candle Data V3", "Expired Instruments", "Rate Limiting" and
"Common Error Codes". Its firewall answers the User-Agents of Python's libraries with an HTML 403, so ours is explicit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr

from extract.rest import HttpClient, Reply, ServiceError, UnavailableError

EXPIRED_TOKEN = "UDAPI100050"
REFUSED = {
    "UDAPI100067": "refuses this kind of token: the Analytics Token reads history, an OAuth token of today the rest",
    "UDAPI1149": "keeps this for accounts with a paid plan (Upstox Plus)",
    "UDAPI1148": "finds the window of time too long for one request",
}
RATE_LIMIT = "UDAPI10005"
RATE_WAITS = (2.0, 60.0, 120.0)
"""Seconds to wait after the first, second and each further 429, which has no Retry-After."""
BLOCK_PAUSE = 600.0


class TokenError(ServiceError):
    """The token is wrong or has ended; nothing can be read until somebody makes a new one."""


class BlockedError(ServiceError):
    """Upstox's firewall blocks us."""

    pause = BLOCK_PAUSE


class EndpointError(ServiceError):
    """An endpoint rejects every request of ours; others may work."""


class RejectedRequestError(ServiceError):
    """Upstox rejects this request; another may work."""


class Upstox:
    """The client of one account.

    Args:
        http: sends the requests to the API.
        masters: sends those for the instrument masters.
        token: the account's token.
    """

    def __init__(self, http: HttpClient, masters: HttpClient, token: SecretStr) -> None:
        self._http = http
        self._masters = masters
        self._token = token
        self.requests = 0

    def history(self, key: str, timeframe: str, since: date, until: date) -> list[Any]:
        """The candles of an instrument in a window of days, both ends included; newest first.

        Args:
            key: Upstox's key.
            timeframe: 1m or 1d.
            since: first day.
            until: last day.

        Raises:
            TokenError, BlockedError, EndpointError, RejectedRequestError: see each class.
            UnavailableError: all attempts failed.
        """
        unit = {"1m": "minutes/1", "1d": "days/1"}[timeframe]
        return self._candles("history", f"/v3/historical-candle/{_part(key)}/{unit}/{until}/{since}")

    def intraday(self, key: str) -> list[Any]:
        """The minutes of today, which are provisional; outside trading hours they may be of the last working day."""
        return self._candles("intraday", f"/v3/historical-candle/intraday/{_part(key)}/minutes/1")

    def expired(self, key: str, since: date, until: date) -> list[Any]:
        """The minutes of an expired contract in a window of days."""
        path = f"/v2/expired-instruments/historical-candle/{_part(key)}/1minute/{until}/{since}"
        return self._candles("expired candles", path)

    def expiries(self, key: str) -> list[Any]:
        """The dates of which Upstox keeps expired contracts of an underlying."""
        return self._ask("expiries", f"/v2/expired-instruments/expiries?instrument_key={_part(key)}", _listed)

    def contracts(self, key: str, expiry: date) -> list[Any]:
        """The options of an underlying that expired on a day."""
        query = f"instrument_key={_part(key)}&expiry_date={expiry}"
        return self._ask("expired contracts", f"/v2/expired-instruments/option/contract?{query}", _listed)

    def holidays(self) -> list[Any]:
        """The holidays and special sessions of this year."""
        return self._ask("calendar", "/v2/market/holidays", _listed)

    def master(self, name: str) -> bytes:
        """An instrument master as it is served: gzip, or JSON if it was decompressed on the way.

        Raises:
            RejectedRequestError: there is none of this name.
            UnavailableError: all attempts failed.
        """
        reply = self._masters.retrying(lambda: self._masters.get(f"/{name}.json.gz", lambda _: _agent()))
        if reply.status != 200:
            _refuse_firewall(reply)
            raise RejectedRequestError(f"there is no instrument master {name} (HTTP {reply.status})")
        return reply.body

    def _candles(self, endpoint: str, path: str) -> list[Any]:
        return self._ask(endpoint, path, lambda data: _listed(data.get("candles") if isinstance(data, dict) else None))

    def _ask(self, endpoint: str, path: str, items: Callable[[Any], list[Any]]) -> list[Any]:
        """The items in the `data` of a reply; tried again as long as that may help."""
        limited = 0

        def attempt() -> list[Any]:
            nonlocal limited
            self.requests += 1
            try:
                return items(self._data(endpoint, self._http.get(path, lambda _: self._headers())))
            except UnavailableError as error:
                if error.reply is not None and error.reply.status == 429 and error.wait is None:
                    wait = RATE_WAITS[min(limited, len(RATE_WAITS) - 1)]
                    limited += 1
                    raise UnavailableError(
                        f"Upstox's rate limit is reached ({RATE_LIMIT})", wait, error.reply
                    ) from None
                raise

        return self._http.retrying(attempt)

    def _data(self, endpoint: str, reply: Reply) -> Any:
        if reply.status != 200:
            _refuse_firewall(reply)
            raise self._complaint(endpoint, reply)
        content = reply.json()
        if not isinstance(content, dict) or content.get("status") != "success":
            raise UnavailableError(f"a reply is not one of Upstox's (HTTP {reply.status}): is UPSTOX_BASE_URL right?")
        return content.get("data")

    def _complaint(self, endpoint: str, reply: Reply) -> ServiceError:
        """The error for a reply that is none of success."""
        content = reply.json()
        errors = content.get("errors") if isinstance(content, dict) else None
        first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
        code = self._http.masked(str(first.get("error_code") or first.get("errorCode") or f"HTTP {reply.status}"))
        if (reply.status == 401 and code not in REFUSED) or code == EXPIRED_TOKEN:
            return TokenError(
                f"Upstox does not accept UPSTOX_ACCESS_TOKEN ({code}): it is wrong or has ended. An Analytics Token is"
                " valid for a year, an OAuth token until 03:30 IST"
            )
        if code in REFUSED:
            return EndpointError(f"Upstox {REFUSED[code]} ({code}, {endpoint})")
        words = self._http.masked(str(first.get("message") or "without a reason"))
        return RejectedRequestError(f"Upstox refuses the request ({code}: {words})")

    def _headers(self) -> dict[str, str]:
        token = self._token.get_secret_value()
        return {**_agent(), "Accept": "application/json", "Authorization": f"Bearer {token}"}


def _agent() -> Mapping[str, str]:
    return {"User-Agent": f"tradehouse/{version('tradehouse')}"}


def _part(text: str) -> str:
    """A part of a path or query; keys hold | and blanks."""
    return quote(text, safe="")


def _listed(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise UnavailableError("Upstox's reply has no list")
    return data


def _refuse_firewall(reply: Reply) -> None:
    if reply.status == 403 and reply.body.lstrip()[:1] == b"<":
        raise BlockedError(
            "Upstox's firewall blocks this program (HTTP 403 with a page, such as error 1010): it does not like the"
            " User-Agent or this machine's address. Trying again does not help"
        )
