// The page /: every symbol and timeframe of the tier at a glance.

import { api, byId, decimals, duration, element, showFailure, signed, utc, viewer } from "./page.js";
import { sparkline } from "./sparkline.js";

const AGAIN_SECONDS = viewer.stream ? 60 : 300; // requests are counted

async function refresh() {
  try {
    const answer = await api("/api/overview");
    showTable(answer);
    showProblems(answer);
    byId("updated").textContent = `Loaded ${utc(answer.time)}`;
  } catch (error) {
    showFailure(byId("health"), error);
  }
}

function showTable({ symbols, time }) {
  const column = (text, number) => element("th", { scope: "col", text, class: number ? "number" : null });
  const score = viewer.confluence ? [column("Confluence", true)] : [];
  const head = ["Symbol", "Close", "Day", "48 hours"].map((text, place) => column(text, place === 1 || place === 2));
  byId("overview").tHead.replaceChildren(
    element("tr", {}, ...head, ...score, ...viewer.timeframes.map((name) => column(name))),
  );
  byId("overview").tBodies[0].replaceChildren(...symbols.map((each) => symbolRow(each, time)));
}

function symbolRow({ symbol, close, close_before, hourly_closes, confluence_score, timeframes }, time) {
  const digits = decimals(hourly_closes ?? [close ?? 0]);
  const change = close != null && close_before ? ((close - close_before) / close_before) * 100 : null;
  const direction = change === null ? "muted" : change >= 0 ? "up" : "down";
  const score = element("td", { class: "number" }, confluence_score == null ? "–" : element("a", { href: `/confluence/${symbol}`, text: confluence_score.toFixed(1), "data-testid": "confluence-score" }));
  return element(
    "tr",
    { "data-testid": "overview-row", "data-symbol": symbol },
    element("th", { scope: "row" }, element("a", { href: `/chart/${symbol}/${viewer.timeframes.includes("H1") ? "H1" : viewer.timeframes[0]}`, text: symbol })),
    element("td", { class: "number", text: close == null ? "–" : close.toFixed(digits) }),
    element("td", { class: `number ${direction}`, text: change === null ? "–" : `${signed(change, 2)} %` }),
    element("td", { class: direction }, sparkline(hourly_closes ?? [])),
    viewer.confluence ? score : null,
    ...viewer.timeframes.map((name) => element("td", {}, cell(symbol, timeframes.find((each) => each.timeframe === name), time))),
  );
}

/** The newest bar of a table: today's by its hour, an older one by its day. */
function cell(symbol, table, time) {
  if (!table) return "";
  const { timeframe, newest_bar, lag_seconds, status, reason } = table;
  const text = newest_bar === null ? "none" : utc(newest_bar).slice(...(time - newest_bar < 86400 ? [11] : [5, 10]));
  const current = status === "current";
  const title = newest_bar === null ? "No bar yet" : `Newest bar ${utc(newest_bar)}${current ? ", current" : `, ${lagging(lag_seconds)}: ${reason}`}`;
  return element("a", { href: `/chart/${symbol}/${timeframe}`, class: current ? "cell" : "cell late", title, "aria-label": `${symbol} ${timeframe}: ${title}`, text });
}

const lagging = (seconds) => (seconds ? `${duration(seconds)} behind` : "behind");

/** Tables that are late for the same reason stand in one line. */
function showProblems({ symbols }) {
  const tables = symbols.flatMap(({ symbol, timeframes }) => timeframes.map((each) => ({ symbol, ...each })));
  const late = tables.filter(({ status }) => status !== "current");
  byId("health").textContent = late.length ? `${late.length} of ${tables.length} tables are behind:` : `All ${tables.length} tables are current.`;
  byId("health").className = late.length ? "warn" : "up";
  const reasons = grouped(late);
  byId("problems").replaceChildren(
    ...[...reasons].map(([reason, all]) => {
      const longest = Math.max(...all.map(({ lag_seconds }) => lag_seconds ?? 0));
      const named = all.slice(0, 6).map(({ symbol, timeframe }) => `${symbol} ${timeframe}`).join(", ");
      const rest = all.length > 6 ? ` and ${all.length - 6} more` : "";
      return element("li", { text: `${named}${rest}: ${reason ?? "unknown"}${longest ? ` (up to ${duration(longest)} behind)` : ""}` });
    }),
  );
}

function grouped(rows) {
  const groups = new Map();
  for (const row of rows) groups.set(row.reason, [...(groups.get(row.reason) ?? []), row]);
  return groups;
}

const hidden = viewer.allSymbols.length * viewer.allTimeframes.length - viewer.symbols.length * viewer.timeframes.length;
if (hidden) byId("upgrade").textContent = `PRO adds ${hidden} more tables of ${viewer.allSymbols.length - viewer.symbols.length} more symbols and ${viewer.allTimeframes.length - viewer.timeframes.length} more timeframes, and the confluence.`;
refresh();
setInterval(() => document.hidden || refresh(), AGAIN_SECONDS * 1000);
