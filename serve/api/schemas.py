"""What the answers look like, for the OpenAPI document. Postgres builds them; nothing is checked against these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Failure(BaseModel):
    """Every answer but the one asked for."""

    success: Literal[False]
    error: str = Field(description="One line that says what to do.")


class NotInTier(Failure):
    """The caller's tier does not have it."""

    tier: str
    accessible_symbols: list[str]
    accessible_timeframes: list[str]
    upgrade_required: Literal[True]


class Success(BaseModel):
    """An answer. While the warehouse is away it has `stale`, and the status 503."""

    model_config = ConfigDict(extra="allow")

    success: Literal[True]


class Symbols(Success):
    """Symbols of the caller's tier."""

    tier: str
    symbols: list[str]
    total_count: int


class Timeframes(Success):
    """Timeframes of the caller's tier."""

    tier: str
    timeframes: list[str]
    total_count: int


class Bar(BaseModel):
    """One bar."""

    time: int = Field(description="Open, in Unix seconds.")
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class IndicatorData(BaseModel):
    """Bars and what is drawn over them. What the tier does not see is null."""

    ohlc: list[Bar] = Field(description="Ascending.")
    fractals: Any
    horizontal_trendlines: Any
    diagonal_trendlines: Any
    momentum_candles: Any
    keltner_channels: Any
    zigzag: Any
    tema: list[float | None] | None = Field(description="One value per bar.")
    hrma: list[float | None] | None = Field(description="One value per bar.")
    smma: list[float | None] | None = Field(description="One value per bar.")


class IndicatorMetadata(BaseModel):
    """Where the bars come from."""

    symbol: str
    timeframe: str
    tier: str
    bars_returned: int
    data_source: Literal["postgresql", "cache"]
    last_sync: str | None
    pro_indicators_enabled: bool


class Indicators(Success):
    """Bars with their indicators."""

    data: IndicatorData
    metadata: IndicatorMetadata


class Instrument(BaseModel):
    """An instrument of the Indian market."""

    instrument_id: int
    trading_symbol: str
    name: str | None
    exchange: str
    segment: str
    instrument_type: str
    is_listed: bool


class FoundInstrument(Instrument):
    """An instrument, and what bars there are of it."""

    timeframes: list[str] = Field(description="Those with bars.")
    newest_bar: int | None = Field(description="When the newest bar opens, in Unix seconds.")


class Instruments(Success):
    """Instruments, the likeliest first."""

    instruments: list[FoundInstrument]
    total_count: int


class MarketBar(Bar):
    """One bar of the Indian market."""

    oi: int | None = Field(description="Open interest.")


class MarketData(BaseModel):
    """Bars with their indicators."""

    ohlc: list[MarketBar] = Field(description="Ascending.")
    indicators: dict[str, list[float | None]] = Field(description="By name, one value per bar.")


class MarketMetadata(Instrument):
    """Where the bars come from."""

    timeframe: str
    bars_returned: int
    data_source: Literal["postgresql", "cache"]
    last_sync: str | None


class MarketBars(Success):
    """Bars of an instrument with their indicators."""

    data: MarketData
    metadata: MarketMetadata


class Confluence(Success):
    """The confluence of one symbol at one instant."""

    symbol: str
    timestamp: str
    confluence_score: float
    max_score: float
    signals: dict[str, int]
    breakdown: dict[str, Any]
    all_117_indicators: dict[str, Any]


class Comparison(Success):
    """The confluence at two instants."""

    symbol: str
    first: dict[str, Any]
    second: dict[str, Any]
    score_change: float


class Instant(BaseModel):
    """The score at one instant."""

    time: int = Field(description="Unix seconds.")
    confluence_score: float
    bullish: int
    bearish: int
    neutral: int


class History(Success):
    """The score over time."""

    symbol: str
    step: str
    history: list[Instant]


class Health(BaseModel):
    """The state of a part, or of all of them."""

    model_config = ConfigDict(extra="allow")

    success: bool


FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "Unknown symbol, timeframe or parameter; the allowed ones are listed."},
    401: {"model": Failure, "description": "The key is unknown, has expired or was revoked, or one is needed."},
    403: {"model": NotInTier, "description": "Not in the caller's tier."},
    404: {"model": Failure, "description": "No data."},
    429: {"model": Failure, "description": "Too many requests; Retry-After says when to try again."},
    500: {"model": Failure, "description": "A fault of ours."},
    503: {
        "model": Failure | Success,
        "description": "The warehouse is away. Where an earlier answer is kept, it is this one, with `stale`.",
    },
}


def answers(model: Any, *, cached: bool = True) -> dict[int | str, dict[str, Any]]:
    """All statuses of an endpoint with their schemas."""
    unchanged: dict[int | str, dict[str, Any]] = {304: {"description": "As the client has it."}} if cached else {}
    return {200: {"model": model}} | unchanged | FAILURES
