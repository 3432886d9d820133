"""What `/metrics` tells Prometheus: counts of this process, and the warehouse's own verdicts."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serve.api.errors import UnavailableError
from serve.api.service import Api
from serve.api.single_flight import SingleFlight

log = logging.getLogger("tradehouse.api")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
READ_EVERY = 10.0
"""Seconds; scrapes in between get the same values of the warehouse."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""Label of all paths, and of all methods, that do not exist: a client must not be able to make series."""

WAREHOUSE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("bar_age_seconds", "Seconds since the newest bar of a candle table opened.", ("symbol", "timeframe")),
    ("tables", "Candle tables.", ()),
    ("tables_due", "Candle tables that lack a bar they must have by now, as ops.sync_health says.", ()),
    ("source_verdict", "1 for the verdict of a source, as ops.source_health says.", ("source", "verdict")),
    ("runs_last_hour", "Runs that ended within the last hour.", ("source", "status")),
    ("run_seconds", "Seconds the last ended run took.", ("source",)),
    ("rows_changed_last_hour", "Rows changed by the runs that ended within the last hour.", ("source",)),
    ("rejects_open", "Rejects that are neither resolved nor dismissed.", ("source",)),
)
"""Name, meaning and labels of each list that api.metrics() returns."""


class Metrics(Collector):
    """The metrics of one API process.

    Args:
        api: whose counters are shown.
        clock: monotonic seconds.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._values: Mapping[str, Any] | None = None
        self._read_at: float | None = None
        self._flights: SingleFlight[None] = SingleFlight()
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "tradehouse_http_request_seconds",
            "Seconds from a request to the first byte of its answer.",
            ("route", "method", "status"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        build = Gauge("tradehouse_build_info", "1; the version is a label.", ("version",), registry=self._registry)
        build.labels(importlib.metadata.version("tradehouse")).set(1)
        self._registry.register(self)

    def answered(self, scope: Mapping[str, Any], status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            scope: of the request, after routing.
            status: HTTP status.
            seconds: until the answer began, so that a stream counts when it opens.
        """
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route = getattr(scope.get("route"), "path", OTHER)
        self._seconds.labels(route, method, str(status)).observe(seconds)

    async def text(self) -> bytes:
        """All metrics in Prometheus' text format, without the warehouse's values while it is away."""
        if self._read_at is None or self._clock() - self._read_at >= READ_EVERY:
            await self._flights.run("", self._read)
        return generate_latest(self._registry)

    async def _read(self) -> None:
        try:
            body = await self._api.database.value(b"select api.metrics()")
            self._values = json.loads(body)
        except UnavailableError as error:
            log.debug("metrics without the warehouse's values: %s", error)
            self._values = None
        self._read_at = self._clock()

    def collect(self) -> Iterator[Metric]:
        """The values that are kept elsewhere."""
        counters = self._api.cache.counters
        answers = CounterMetricFamily(
            "tradehouse_cache_answers", "Answers of cached endpoints, by where they came from.", labels=["outcome"]
        )
        for outcome, count in (("hit", counters.hits), ("miss", counters.misses), ("stale", counters.stale)):
            answers.add_metric([outcome], count)
        yield answers
        for name, help_text, count in (
            (
                "cache_rebuilds",
                "Answers built because their tables had changed, before anybody asked.",
                counters.rebuilt,
            ),
            ("redis_errors", "Requests to Redis that failed.", self._api.redis.errors if self._api.redis else 0),
            ("streams_cut", "Streams cut off because their clients were too slow.", self._api.hub.cut),
        ):
            yield CounterMetricFamily(f"tradehouse_{name}", help_text, value=count)
        yield GaugeMetricFamily("tradehouse_streams_open", "Streams open now.", value=len(self._api.hub))
        yield GaugeMetricFamily(
            "tradehouse_warehouse_up", "1 if the warehouse answered when last asked.", value=self._values is not None
        )
        for name, help_text, labels in WAREHOUSE:
            family = GaugeMetricFamily(f"tradehouse_{name}", help_text, labels=labels)
            for *label_values, value in (self._values or {}).get(name) or ():
                family.add_metric(label_values, value)
            yield family
