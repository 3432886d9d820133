"""The page of `tradehouse bybit report`: one file without scripts or links, to be sent and opened anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from html import escape
from itertools import groupby
from typing import Any

from extract.warehouse import Connection
from serve.trading_reports import Rows, by_period, equity, open_lots, performance, recent_trades
from serve.trading_stats import read_stats

WIDTH, HEIGHT, MARGIN = 760, 220, 12
MOST_POINTS = 1_500
"""Of a longer curve each step shows its last point and its deepest one."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #66707a; --line: #d5dae0; --back: #ffffff; --up: #1a7f4b; --down: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #98a2ac; --line: #353c44; --back: #15191d;
  --up: #4cc38a; --down: #ff7b72; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 84rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } p { color: var(--soft); }
.scroll { overflow-x: auto; } table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: 0.85rem; }
th, td { padding: 0.25rem 0.32rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--back); } td.text, th.text { text-align: left; }
.up { color: var(--up); } .down { color: var(--down); } svg { width: 100%; height: auto; overflow: visible; }
.equity { fill: none; stroke: var(--up); stroke-width: 1.6; } .drawdown { fill: var(--down); opacity: 0.35; }
.zero { stroke: var(--line); } svg text { fill: var(--soft); font-size: 11px; }
svg text { paint-order: stroke; stroke: var(--back); stroke-width: 3px; }
@media (max-width: 40rem) { svg text { font-size: 22px; } }
.heat td { min-width: 3.6rem; border: 2px solid var(--back); color: #111; } .heat td.none { background: none; color: var(--soft); }
""".strip()  # noqa: E501 - CSS reads better by rule than by line


def report_page(connection: Connection, bot: str | None, now: datetime | None = None) -> str:
    """The page as HTML.

    Args:
        connection: in one transaction, so that all figures are of one moment.
        bot: only this one.
        now: the moment in its heading.

    Raises:
        UnknownBotError: there is no such bot.
        WarehouseError: there are no trades yet, or the server denies the reading.
    """
    stats = read_stats(connection, bot)
    moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    months = by_period(connection, "monthly", bot)
    parts = [
        f"<h1>{'Trading report' if bot is None else f'Trading report: {escape(bot)}'}</h1>",
        f"<p>As of {moment:%Y-%m-%d %H:%M} UTC. Amounts are in each market's own currency and net of fees.</p>",
        *(f"<p>{escape(line)}</p>" for line in stats.quality.lines),
        *_section("By positions, from flat to flat", performance(connection, bot, "bot", "positions")),
        *_section("By trades", performance(connection, bot, "bot", "trades")),
        *_curves(equity(connection, bot)),
        *_heat_maps(months),
        *_section("By exit reason", performance(connection, bot, "reason", "trades")),
        *_section("By symbol", performance(connection, bot, "symbol", "trades")),
        *_section("Open", open_lots(connection, bot)),
        *_section("Newest trades", recent_trades(connection, bot, 50)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Trading report</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _section(title: str, found: Rows) -> Iterable[str]:
    yield f"<h2>{escape(title)}</h2>"
    yield _table(found.columns, found.rows) if found.rows else "<p>None.</p>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    texts = [all(isinstance(row[place], str) for row in rows) for place in range(len(columns))]
    left = [' class="text"' if text else "" for text in texts]
    head = "".join(f"<th{kind}>{escape(name.replace('_', ' '))}</th>" for name, kind in zip(columns, left, strict=True))
    body = "\n".join(
        "<tr>" + "".join(_cell(value, name) for value, name in zip(row, columns, strict=True)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _cell(value: Any, name: str) -> str:
    kind = "text" if isinstance(value, str) else ""
    if name.endswith("pnl") and isinstance(value, Decimal) and value:
        kind = "up" if value > 0 else "down"
    return f'<td class="{kind}">{escape(_text(value))}</td>' if kind else f"<td>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, Decimal):
        return amount(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def amount(value: Decimal) -> str:
    """Two decimals, or up to eight for an amount below 0.01, such as one in a coin."""
    return f"{value:,.2f}" if abs(value) >= Decimal("0.01") or value == 0 else f"{value:.8f}".rstrip("0").rstrip(".")


def _curves(found: Rows) -> Iterable[str]:
    for (bot, account, market), rows in groupby(found.rows, key=lambda row: row[:3]):
        points = [(row[3], row[4], row[5]) for row in rows]
        yield f"<h2>Equity: {escape(bot)}, {escape(market)}</h2>"
        yield f"<p>Account {escape(account)}: net profit and, below, the drawdown from its peak.</p>"
        yield _curve(points)


def _curve(points: list[tuple[datetime, Decimal, Decimal]]) -> str:
    """The curve of the net profit over the area of the drawdown, as SVG."""
    shown = _thinned(points)
    start, end = shown[0][0].timestamp(), shown[-1][0].timestamp()
    values = [float(value) for _, cumulative, drawdown in shown for value in (cumulative, drawdown)] + [0.0]
    low, high = min(values), max(values)

    def x(moment: datetime) -> float:
        return round(MARGIN + (moment.timestamp() - start) / ((end - start) or 1) * (WIDTH - 2 * MARGIN), 1)

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (value - low) / ((high - low) or 1) * (HEIGHT - 2 * MARGIN), 1)

    line = " ".join(f"{x(moment)},{y(float(value))}" for moment, value, _ in shown)
    area = " ".join(f"{x(moment)},{y(float(value))}" for moment, _, value in shown)
    last = amount(shown[-1][1])
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 18}" role="img" aria-label="Net profit over time, {last} at the end">'
        f'<line class="zero" x1="0" x2="{WIDTH}" y1="{y(0)}" y2="{y(0)}"/>'
        f'<polygon class="drawdown" points="{x(shown[0][0])},{y(0)} {area} {x(shown[-1][0])},{y(0)}"/>'
        f'<polyline class="equity" points="{line}"/>'
        f'<text x="{MARGIN}" y="{HEIGHT + 12}">{shown[0][0]:%Y-%m-%d}</text>'
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT + 12}" text-anchor="end">{shown[-1][0]:%Y-%m-%d}: {last}</text>'
        f'<text x="{MARGIN}" y="12">{amount(Decimal(str(round(high, 8))))}</text></svg>'
    )


def _thinned(points: list[tuple[datetime, Decimal, Decimal]]) -> list[tuple[datetime, Decimal, Decimal]]:
    step = len(points) // (MOST_POINTS // 2) + 1
    if len(points) <= MOST_POINTS:
        return points
    thinned = []
    for first in range(0, len(points), step):
        piece = points[first : first + step]
        thinned += sorted({min(piece, key=lambda point: point[2]), piece[-1]})
    return thinned


def _heat_maps(months: Rows) -> Iterable[str]:
    """A row per year, a column per month: total profit with funding, of all bots, per market."""
    sums: dict[str, dict[tuple[int, int], Decimal]] = {}
    for row in months.as_dicts():
        of_market = sums.setdefault(row["market"], {})
        place = (row["month"].year, row["month"].month)
        of_market[place] = of_market.get(place, Decimal(0)) + row["total_pnl"]
    for market, found in sorted(sums.items()):
        most = max(abs(value) for value in found.values()) or Decimal(1)
        yield f"<h2>Months: {escape(market)}</h2>"
        yield '<div class="scroll"><table class="heat"><thead><tr><th></th>'
        yield "".join(f"<th>{name}</th>" for name in MONTHS) + "<th>year</th></tr></thead><tbody>"
        for year in range(min(found)[0], max(found)[0] + 1):
            cells = [_heat(found.get((year, month)), most) for month in range(1, 13)]
            total = sum((value for (of_year, _), value in found.items() if of_year == year), Decimal(0))
            yield f"<tr><th>{year}</th>{''.join(cells)}{_cell(total, 'pnl')}</tr>"
        yield "</tbody></table></div>"


def _heat(value: Decimal | None, most: Decimal) -> str:
    if value is None:
        return '<td class="none">-</td>'
    strength = 25 + round(60 * abs(value) / most)
    hue = "145" if value >= 0 else "6"
    return f'<td style="background: hsl({hue} 60% {95 - strength * 0.5:.0f}%)">{amount(value)}</td>'
