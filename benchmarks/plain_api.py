"""The yardstick of the HTTP API: the endpoint most people would write, FastAPI + psycopg2 + json.dumps.

Usage: plain_api.py URI PORT. It serves GET /api/indicators/{symbol}/{timeframe}?limit= from the candle tables.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.middleware.gzip import GZipMiddleware
from psycopg2.extras import RealDictCursor
from psycopg2.pool import ThreadedConnectionPool

JSON_OF_NEWEST = ("fractals", "horizontal_trendlines", "diagonal_trendlines", "zigzag")
PRICES = ("open", "high", "low", "close")
BANDS = (
    *("ultra_extreme_upper", "extreme_upper", "upper_most", "upper_middle", "upper"),
    *("lower", "lower_middle", "lower_most", "extreme_lower", "ultra_extreme_lower"),
)


def answer(rows: list[dict[str, Any]], symbol: str, timeframe: str) -> dict[str, Any]:
    """The answer of the endpoint, from rows in ascending order."""
    newest = rows[-1]
    return {
        "success": True,
        "data": {
            "ohlc": [
                {"time": int(row["timestamp"].timestamp()), **{name: row[name] for name in PRICES}} for row in rows
            ],
            **{name: newest[name] for name in JSON_OF_NEWEST},
            "momentum_candles": [point for row in rows for point in row["momentum_candles"] or []],
            "keltner_channels": {band: [(row["keltner_channels"] or {}).get(band) for row in rows] for band in BANDS},
            **{name: [row[name] for row in rows] for name in ("tema", "hrma", "smma")},
        },
        "metadata": {"symbol": symbol, "timeframe": timeframe, "bars_returned": len(rows)},
    }


def create_app(uri: str) -> FastAPI:
    """The application."""
    app = FastAPI()
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    pool = ThreadedConnectionPool(1, 40, uri)  # as many as FastAPI has threads

    @app.get("/api/indicators/{symbol}/{timeframe}")
    def indicators(symbol: str, timeframe: str, limit: int = 1000) -> Response:
        connection = pool.getconn()
        try:
            with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                table = f"{symbol.lower()}_{timeframe.lower()}"
                cursor.execute(f"select * from {table} order by timestamp desc limit %s", (limit,))
                rows = [dict(row) for row in cursor.fetchall()][::-1]
            connection.rollback()
        finally:
            pool.putconn(connection)
        return Response(json.dumps(answer(rows, symbol, timeframe)), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
