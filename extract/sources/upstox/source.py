"""Upstox's source: instruments, sessions and candles, read as far as the warehouse lacks them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from extract.errors import TransformError
from extract.refresh import refresh
from extract.rest import Bounds, HttpClient, Pace, ServiceError, UnavailableError
from extract.run import RunContext
from extract.settings import Project, Settings, load
from extract.source import Reading, Source
from extract.sources.upstox.calls import CANDLE_KINDS, carry_out
from extract.sources.upstox.client import EndpointError, RejectedRequestError, Upstox
from extract.sources.upstox.landing import SOURCE, complete_expiries, complete_part, is_behind, requests_ago
from extract.sources.upstox.limits import Limits
from extract.sources.upstox.plan import SEGMENTS, UNPACED, Call, due_calls, due_segments, freshness
from extract.sources.upstox.settings import UpstoxSettings
from extract.warehouse import Connection

MASTER_BOUNDS = Bounds(size=512 * 1024 * 1024)
BATCH = 40
"""Windows that land before they become candles: of a month of minutes each, 320,000 rows."""
FAILURES_NAMED = 20
"""The most rejected requests that are named one by one."""
MASTER_KINDS = {"master", "contracts"}
MASTER_MODELS = ("instrument_master", "option_master")
CANDLES = ("candle_data",)


def open_upstox(
    settings: UpstoxSettings, limits: Pace, stop: threading.Event | None = None
) -> tuple[HttpClient, HttpClient, Upstox]:
    """The client of the account in the settings; close the first two of the three when done.

    Raises:
        SettingsError: the token is missing.
    """
    token = settings.require_token()
    http = HttpClient(settings.upstox_base_url, limits, secrets=[token], stop=stop)
    masters = HttpClient(settings.upstox_instruments_url, Pace(0), bounds=MASTER_BOUNDS, stop=stop)
    return http, masters, Upstox(http, masters, token)


@dataclass(kw_only=True)
class UpstoxReading(Reading):
    """What was read.

    Attributes:
        requests: those to the API, with repeated ones.
        calls: what was asked for and answered, by kind.
        refreshed: models that are up to date with it already.
    """

    requests: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    refreshed: set[str] = field(default_factory=set)

    @property
    def summary(self) -> str:
        """What was read, for the last line of a run's output."""
        return f"{self.requests:,} requests; {super().summary}"

    def details(self) -> dict[str, Any]:
        """The requests, and what was asked for, by kind."""
        return {"requests": self.requests, "calls": dict(self.calls)}


@dataclass
class _Progress:
    """What a run has carried out so far."""

    reading: UpstoxReading
    done: set[Call] = field(default_factory=set)
    failed: set[Call] = field(default_factory=set)
    rejected: int = 0

    def fail(self, call: Call, error: ServiceError) -> None:
        self.failed.add(call)
        self.rejected += 1
        if self.rejected <= FAILURES_NAMED:
            self.reading.failed[call.description] = str(error)
        else:
            self.reading.failed["more requests"] = f"{self.rejected - FAILURES_NAMED:,} were refused, too"


class UpstoxSource(Source[UpstoxReading]):
    """Segments of the Indian markets.

    Args:
        settings: the account.
        segments: what to read; all by default.
        force: whether to read what is still fresh.

    Raises:
        SettingsError: the token is missing.
    """

    name = SOURCE

    def __init__(self, settings: UpstoxSettings, segments: Sequence[str] = SEGMENTS, force: bool = False) -> None:
        settings.require_token()
        self._settings = settings
        self._segments = segments
        self._fresh = freshness(settings, force)

    def read(self, run: RunContext) -> UpstoxReading:
        """Ask the warehouse what is due, request it and land each reply, until nothing is due.

        An endpoint that rejects all our requests, or a request that is rejected, fails alone.

        Raises:
            TokenError, BlockedError: see each class; what has landed stays.
            UnavailableError: Upstox cannot be reached, and nothing was read.
        """
        reading = UpstoxReading(parts=list(self._segments))
        moment = datetime.now(timezone.utc)
        if not run.built.current:
            built = run.runner.build(run)
            if built.problems:
                raise TransformError(f"the tables of {SOURCE} cannot be built: {'; '.join(built.problems)}")
        _refresh(run, reading, CANDLES if is_behind(run.connection) else ())
        segments = due_segments(run.connection, moment, self._segments, self._fresh)
        limits = Limits(requests_ago(run.connection), sleep=run.stop.wait)
        http, masters, upstox = open_upstox(self._settings, limits, run.stop)
        progress = _Progress(reading)
        with http, masters:
            try:
                while stage := self._stage(run.connection, moment, limits, progress):
                    self._carry_out(run, upstox, stage, progress)
                    if run.stop.is_set():
                        break
            except UnavailableError as error:
                if not progress.done:
                    raise
                reading.error, reading.pause = str(error), error.pause
            finally:
                reading.requests = upstox.requests
        if reading.error is None and not run.stop.is_set():
            _complete(run.connection, segments, progress.failed)
        return reading

    def _stage(self, connection: Connection, moment: datetime, limits: Limits, progress: _Progress) -> list[Call]:
        """The requests of the first stage that is due; none if nothing is. None is carried out twice in a run."""
        calls = due_calls(connection, moment, self._segments, self._settings.masters, self._fresh)
        left = [call for call in calls if call not in progress.done and call not in progress.failed]
        limits.expect(sum(call.kind not in UNPACED for call in left))
        return [call for call in left if call.stage == left[0].stage]

    def _carry_out(self, run: RunContext, upstox: Upstox, stage: Sequence[Call], progress: _Progress) -> None:
        """Carry out a stage; every few windows become candles, so that a kill leaves little to do."""
        landed = 0
        refused: set[str] = set()
        try:
            for number, call in enumerate(stage):
                if run.stop.is_set():
                    break
                if call.kind in refused:
                    progress.failed.add(call)
                    continue
                run.progress(f"reading {call.kind} of {call.segment or 'all'}", number, len(stage))
                try:
                    found = carry_out(run.record, upstox, call)
                except EndpointError as error:
                    refused.add(call.kind)
                    progress.failed.add(call)
                    progress.reading.failed[f"{call.kind} requests"] = str(error)
                    continue
                except RejectedRequestError as error:
                    progress.fail(call, error)
                    continue
                progress.done.add(call)
                reading = progress.reading
                reading.calls[call.kind] += 1
                reading.rows_read += found.rows_read
                reading.rows_changed += found.rows_changed
                reading.rows_rejected += found.rows_rejected
                reading.notes += found.notes
                landed += call.kind in CANDLE_KINDS
                if landed == BATCH:
                    _refresh(run, reading, CANDLES)
                    landed = 0
        finally:
            kinds = {call.kind for call in stage}
            masters = MASTER_MODELS if kinds & MASTER_KINDS else ()
            _refresh(run, progress.reading, [*masters, *(CANDLES if landed else ())])

    def stale_models(self, reading: UpstoxReading) -> Sequence[str] | None:
        """Those that the stages have refreshed already: once more costs little, and the run's record names them."""
        return sorted(reading.refreshed)


def _refresh(run: RunContext, reading: UpstoxReading, models: Sequence[str]) -> None:
    """Refresh models.

    Raises:
        TransformError: one fails.
    """
    failed = refresh(run.connection, models).failed
    if failed:
        raise TransformError("; ".join(f"{model}: {why}" for model, why in failed.items()))
    reading.refreshed.update(models)


def _complete(connection: Connection, segments: Sequence[str], failed: set[Call]) -> None:
    """Note which segments were read in full."""
    complete_expiries(connection)
    if any(call.kind == "master" for call in failed):
        return
    broken = {call.segment for call in failed}
    for segment in segments:
        if segment not in broken:
            complete_part(connection, f"segment {segment}")


SETTINGS = UpstoxSettings


def default_every(_: Settings) -> float:
    """Seconds between the ticks of its service."""
    return 3600


def create(_: Settings, __: Project, segments: Sequence[str] = SEGMENTS, force: bool = False) -> UpstoxSource:
    """The source of the settings; `segments` and `force` as UpstoxSource has them.

    Raises:
        SettingsError: the token is missing, or a setting cannot work.
    """
    return UpstoxSource(load(UpstoxSettings), segments, force)


def check(_: Settings, __: Project) -> Iterator[str]:
    """Ask for the calendar and for a few daily candles; yield what works.

    Raises:
        ServiceError: a request failed.
    """
    settings = load(UpstoxSettings)
    http, masters, upstox = open_upstox(settings, Limits())
    with http, masters:
        today = datetime.now(timezone.utc).date()
        candles = upstox.history("NSE_INDEX|Nifty 50", "1d", today.replace(day=1), today)
        yield f"{http.address} accepts the token: history can be read ({len(candles)} days of NIFTY this month)"
        try:
            yield f"the calendar can be read: {len(upstox.holidays())} holidays this year"
        except (EndpointError, RejectedRequestError) as error:
            yield f"the calendar cannot be read, which leaves weekdays as the prediction: {error}"
