"""Which windows of time Bybit is asked for, at what pace, and by which settings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest

from extract.errors import SettingsError
from extract.rest import Pace
from extract.settings import Settings, load
from extract.sources.bybit.client import (
    HISTORY,
    LONGEST_SPAN,
    RejectedRequestError,
)
from extract.sources.bybit.plan import Window, backfill_windows, sync_windows
from extract.sources.bybit.settings import BybitSettings
from extract.sources.bybit.source import default_every

NOW = datetime(2025, 3, 14, 15, 9, 26, tzinfo=timezone.utc)
WEEK = datetime(2025, 3, 13, tzinfo=timezone.utc)  # a Thursday, as 1970-01-01 was


OVERLAP = timedelta(hours=2)


# --- pace ------------------------------------------------------------------------------------


def test_pace_by_the_clock() -> None:
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(0.125, lambda: now[0], sleep)
    for spent in (0.0, 0.025, 0.0, 1.0, 0.0):
        pace.wait()
        now[0] += spent
    pace.wait()
    # a turn that nobody took is not saved up for later
    assert slept == pytest.approx([0.125, 0.1, 0.125, 0.125])


# --- windows ---------------------------------------------------------------------------------


def covered(windows: list[Window]) -> list[tuple[datetime, datetime]]:
    for window in windows:
        assert window.start <= window.since < window.until <= window.start + LONGEST_SPAN
        assert (window.start - WEEK) % LONGEST_SPAN == timedelta(0)
    return [(window.since, window.until) for window in windows]


def test_a_backfill_reads_whole_weeks_oldest_first() -> None:
    spans = covered(backfill_windows("linear", {}, NOW - timedelta(days=91), NOW))
    assert len(spans) == 14
    assert spans[0][0] == WEEK - timedelta(weeks=13)
    assert spans[-1] == (WEEK, NOW)
    assert all(end == start for (_, end), (start, _) in pairwise(spans))


def test_a_backfill_leaves_out_what_has_been_read_to_its_end() -> None:
    weeks = [WEEK - timedelta(weeks=back) for back in (3, 2, 1)]
    read = {weeks[0]: weeks[1], weeks[1]: weeks[2] - timedelta(seconds=1)}
    spans = covered(backfill_windows("linear", read, weeks[0], NOW))
    assert spans == [(weeks[1], weeks[2]), (weeks[2], WEEK), (WEEK, NOW)]


def test_no_window_reaches_behind_what_bybit_keeps() -> None:
    spans = covered(backfill_windows("linear", {}, NOW - timedelta(days=900), NOW))
    assert NOW - HISTORY < spans[0][0] < NOW - HISTORY + timedelta(hours=1)
    assert spans[-1][1] == NOW


def test_a_sync_reads_on_with_an_overlap() -> None:
    assert covered(sync_windows("linear", {WEEK: NOW - timedelta(hours=1)}, NOW, OVERLAP)) == [
        (NOW - timedelta(hours=1) - OVERLAP, NOW)
    ]


def test_a_sync_crosses_weeks_after_a_long_silence() -> None:
    before = WEEK - timedelta(weeks=1)
    assert covered(sync_windows("linear", {before: WEEK - timedelta(days=1)}, NOW, OVERLAP)) == [
        (WEEK - timedelta(days=1) - OVERLAP, WEEK),
        (WEEK, NOW),
    ]


def test_a_sync_makes_up_for_weeks_an_interrupted_backfill_left_out() -> None:
    first = WEEK - timedelta(weeks=4)
    read = {first: first + LONGEST_SPAN, WEEK: NOW - timedelta(minutes=5)}
    spans = covered(sync_windows("linear", read, NOW, OVERLAP))
    assert [start for start, _ in spans[:3]] == [WEEK - timedelta(weeks=back) for back in (3, 2, 1)]
    assert spans[3] == (NOW - timedelta(minutes=5) - OVERLAP, NOW)


def test_a_sync_needs_a_beginning() -> None:
    with pytest.raises(RejectedRequestError, match="run tradehouse bybit backfill first"):
        sync_windows("linear", {}, NOW, OVERLAP)


def test_a_clock_that_was_set_back_asks_for_nothing() -> None:
    assert sync_windows("linear", {WEEK: NOW}, NOW - timedelta(days=1), OVERLAP) == []


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BYBIT_BASE_URL", "http://api.bybit.com", "in the clear"),
        ("BYBIT_BASE_URL", "api.bybit.com", "expected an address"),
        ("BYBIT_BASE_URL", "https://user:hidden@api.bybit.com", "without a password"),
        ("BYBIT_CATEGORIES", "linear,futures", "futures: expected some of linear, inverse, spot, option"),
        ("BYBIT_API_KEY", "hid\nden", "has characters that no key has"),
        ("BYBIT_API_SECRET", "hiddén", "has characters that no key has"),
        ("BYBIT_REQUESTS_PER_SECOND", "0", "greater than 0"),
        ("BYBIT_ACCOUNTS", "main,api", "none like a setting's"),
        ("BYBIT_ACCOUNTS", "main,main", "each once"),
        ("BYBIT_OVERLAP_HOURS", "-1", "greater than or equal to 0"),
        ("BYBIT_BACKFILL_MONTHS", "25", "less than or equal to 24"),
    ],
)
def test_a_setting_that_cannot_work_is_named_and_no_secret_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(BybitSettings)
    assert name in str(caught.value)
    assert words in str(caught.value)
    assert "hid" not in str(caught.value)


def test_settings_as_they_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env there
    monkeypatch.setenv("BYBIT_CATEGORIES", "linear, spot ,linear")
    monkeypatch.setenv("BYBIT_BASE_URL", "https://api-testnet.bybit.com/")
    monkeypatch.setenv("BYBIT_API_SECRET", "hidden")
    settings = load(BybitSettings)
    assert settings.bybit_categories == "linear,spot"
    assert settings.bybit_base_url == "https://api-testnet.bybit.com"
    assert BybitSettings.model_fields["bybit_categories"].default == "linear"
    defaults = (settings.bybit_backfill_months, settings.bybit_overlap_hours, settings.bybit_requests_per_second)
    assert defaults == (3, 2, 8)
    assert default_every(Settings()) == 3600
    assert "hidden" not in repr(settings)
    with pytest.raises(SettingsError, match="BYBIT_API_KEY is not set"):
        settings.require_accounts()
    monkeypatch.setenv("BYBIT_ACCOUNTS", "Main, grid")
    monkeypatch.setenv("BYBIT_MAIN_API_KEY", "hidden")
    with pytest.raises(SettingsError, match="BYBIT_MAIN_API_SECRET and BYBIT_GRID_API_KEY and BYBIT_GRID_API_SECRET"):
        load(BybitSettings).require_accounts()
    for name in ("BYBIT_MAIN_API_SECRET", "BYBIT_GRID_API_KEY", "BYBIT_GRID_API_SECRET"):
        monkeypatch.setenv(name, "hidden")
    monkeypatch.setenv("BYBIT_GRID_BASE_URL", "https://api.bybit.com")
    accounts = load(BybitSettings).require_accounts()
    assert [(account.name, account.base_url) for account in accounts] == [
        ("main", "https://api-testnet.bybit.com"),
        ("grid", "https://api.bybit.com"),
    ]
    assert "hidden" not in repr(accounts)
    monkeypatch.setenv("BYBIT_GRID_BASE_URL", "http://api.bybit.com")
    with pytest.raises(SettingsError, match="BYBIT_GRID_BASE_URL"):
        load(BybitSettings).require_accounts()
