// The page /trades, for admin keys. Sums stay within a market, because each market has one currency.

import { BarChart } from "./bar_chart.js";
import { LineChart } from "./line_chart.js";
import { api, byId, duration, element, showFailure, utc } from "./page.js";
import { direction, fill, number } from "./tables.js";

const PAGE = 50; // trades shown at once
const CSV_PAGE = 1000; // trades of one request for the CSV file
const DAY = 86400, HOUR = 3600;

/** The time of day, `13:00`. */
const clock = (time) => utc(time).slice(11);
const equity = new LineChart(byId("equity"), { area: true });
const days = new BarChart(byId("days-chart"), (time) => utc(time).slice(0, 10));
const hours = new BarChart(byId("hours-chart"), clock);
let answers = null;
let offset = 0;

const pnl = { head: "Net PnL", of: (row) => number(row.total_pnl), number: true, sign: (row) => row.total_pnl };
const counts = [
  { head: "Trades", of: (row) => row.total_trades, number: true },
  { head: "Won", of: (row) => `${number((100 * row.winning_trades) / row.total_trades, 1)} %`, number: true },
];
const fees = { head: "Fees", of: (row) => number(row.total_fees), number: true };
const TRADES = [
  { head: "Exit", of: (row) => utc(Date.parse(row.exit_time) / 1000) },
  { head: "Bot", of: (row) => row.bot_id },
  { head: "Symbol", of: (row) => `${row.symbol} ${row.category}` },
  { head: "Side", of: (row) => (row.entry_side === "Buy" ? "long" : "short") },
  { head: "Quantity", of: (row) => number(row.entry_qty, 8), number: true },
  { head: "Entry", of: (row) => number(row.entry_price, 8), number: true },
  { head: "Exit price", of: (row) => number(row.exit_price, 8), number: true },
  { head: "Net PnL", of: (row) => number(row.net_pnl, 4), number: true, sign: (row) => row.net_pnl },
  { head: "%", of: (row) => number(row.pnl_pct), number: true, sign: (row) => row.pnl_pct },
  { head: "Held", of: (row) => (row.holding_duration_seconds == null ? "–" : duration(row.holding_duration_seconds)), number: true },
  { head: "Exit reason", of: (row) => row.exit_reason },
];

/** Rows with the same key as one, their counts and sums added. */
function totals(rows, key) {
  const found = new Map();
  for (const row of rows) {
    const total = found.get(row[key]) ?? { [key]: row[key], total_trades: 0, winning_trades: 0, total_pnl: 0, total_fees: 0 };
    for (const name of ["total_trades", "winning_trades", "total_pnl", "total_fees"]) total[name] += Number(row[name] ?? 0);
    found.set(row[key], total);
  }
  return [...found.values()].sort((one, other) => other.total_pnl - one.total_pnl);
}

/** Every day from the first to the last, with its sum where there is one. */
function everyDay(rows) {
  const sums = new Map(rows.map((row) => [Date.parse(row.exit_date) / 1000, Number(row.total_pnl)]));
  const points = [];
  const [first, last] = [Math.min(...sums.keys()), Math.max(...sums.keys())];
  for (let time = first; time <= last; time += DAY) points.push({ time, value: sums.get(time) });
  return points;
}

/** All 24 hours, with their sums where there are trades. */
function everyHour(rows) {
  const sums = new Map(rows.map((row) => [row.exit_hour, Number(row.total_pnl)]));
  return Array.from({ length: 24 }, (_, hour) => ({ time: hour * HOUR, value: sums.get(hour) }));
}

function showMarket() {
  const market = byId("market").value;
  const ofMarket = (rows) => rows.filter((row) => row.market === market);
  const summary = ofMarket(answers.summary);
  fill(byId("bots"), [{ head: "Bot", of: (row) => row.bot_id }, ...counts, pnl, fees], totals(summary, "bot_id"));
  fill(byId("reasons"), [{ head: "Exit reason", of: (row) => row.exit_reason }, ...counts, pnl, fees], totals(ofMarket(answers.reasons), "exit_reason"));

  const byTime = answers.byTime.find((each) => each.market === market) ?? { days: [], hours: [] };
  fill(byId("days"), [{ head: "Day", of: (row) => row.exit_date }, ...counts, pnl, fees], byTime.days.toReversed());
  fill(byId("hours"), [{ head: "Hour", of: (row) => clock(row.exit_hour * HOUR) }, ...counts, pnl, fees], byTime.hours);
  days.show(everyDay(byTime.days));
  hours.show(everyHour(byTime.hours));

  // the chart takes one value a second: the last one
  const bySecond = new Map();
  for (const { time, cumulative_pnl } of answers.curves.find((curve) => curve.market === market)?.points ?? []) {
    bySecond.set(Math.floor(Date.parse(time) / 1000), Number(cumulative_pnl));
  }
  const curve = [...bySecond].map(([time, value]) => ({ time, value }));
  let highest = 0;
  const falls = curve.map(({ time, value }) => ({ time, value: value - (highest = Math.max(highest, value)) }));
  equity.show([{ name: "Profit", points: curve }, { name: "Drawdown", points: falls, pane: 1 }]);
  const [all] = totals(summary.map((row) => ({ ...row, all: "all" })), "all");
  const deepest = Math.min(0, ...falls.map(({ value }) => value));
  byId("tiles").replaceChildren(
    tile("Net PnL", number(all?.total_pnl ?? 0), direction(all?.total_pnl ?? 0)),
    tile("Trades", all?.total_trades ?? 0),
    tile("Won", all ? `${number((100 * all.winning_trades) / all.total_trades, 1)} %` : "–"),
    tile("Fees", number(all?.total_fees ?? 0)),
    tile("Deepest drawdown", number(deepest), direction(deepest)),
  );
}

const tile = (name, value, kind) => element("div", { class: "card tile" }, element("span", { class: "muted", text: name }), element("b", { class: kind || null, text: value }));

async function showPage() {
  try {
    const { trades, total_count } = await api(`/api/trades/completed?limit=${PAGE}&offset=${offset}`);
    fill(byId("trades"), TRADES, trades, "No trade is complete yet.");
    byId("page-of").textContent = total_count ? `${offset + 1} to ${offset + trades.length} of ${total_count}` : "";
    byId("newer").disabled = offset === 0;
    byId("older").disabled = offset + trades.length >= total_count;
    byId("csv").disabled = total_count === 0;
  } catch (error) {
    showFailure(byId("fault"), error);
  }
}

/** A cell of a CSV file. A spreadsheet must not take a text for a formula. */
function csvCell(value) {
  const text = value == null ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

async function download() {
  byId("csv").disabled = true;
  try {
    const all = [];
    for (let total = 1; all.length < total; ) {
      const { trades, total_count } = await api(`/api/trades/completed?limit=${CSV_PAGE}&offset=${all.length}`);
      if (!trades.length) break;
      all.push(...trades);
      total = total_count;
    }
    const columns = Object.keys(all[0] ?? {});
    const lines = [columns, ...all.map((trade) => columns.map((column) => trade[column]))];
    const file = new Blob(lines.map((line) => `${line.map(csvCell).join(",")}\r\n`), { type: "text/csv" });
    const link = element("a", { href: URL.createObjectURL(file), download: "completed_trades.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    showFailure(byId("fault"), error);
  }
  byId("csv").disabled = false;
}

function turn(pages) {
  offset = Math.max(0, offset + pages * PAGE);
  showPage();
}

async function open() {
  try {
    const [{ summary }, { exit_reasons }, { curves }, { markets }] = await Promise.all(
      ["summary", "exit-reasons", "equity-curve", "pnl-by-time"].map((name) => api(`/api/trades/${name}`)),
    );
    answers = { summary, reasons: exit_reasons, curves, byTime: markets };
    byId("market").append(...curves.map(({ market }) => element("option", { value: market, text: market })));
    showMarket();
    await showPage();
  } catch (error) {
    showFailure(byId("fault"), error);
  }
  byId("main").dataset.ready = "true";
}

byId("market").addEventListener("change", showMarket);
byId("newer").addEventListener("click", () => turn(-1));
byId("older").addEventListener("click", () => turn(1));
byId("csv").addEventListener("click", download);
open();
