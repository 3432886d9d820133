// The page /confluence/{symbol}: score, signals by timeframe, and the score over time.

import { LineChart } from "./line_chart.js";
import { api, byId, element, showFailure, utc, viewer } from "./page.js";

const AGAIN_SECONDS = 120; // requests are counted
const STEPS = { 7: "H1", 30: "H4", 90: "D1" };
const SIGNALS = ["tema", "hrma", "smma", "momentum_candles", "keltner_channels", "zigzag"];
const NAMES = { momentum_candles: "Momentum", keltner_channels: "Keltner", zigzag: "Zigzag" };
const MARKS = { bullish: "▲", bearish: "▼", neutral: "●" };
const CLASSES = { bullish: "up", bearish: "down", neutral: "muted" };

const chart = new LineChart(byId("history"), { range: [0, 10] });
let days = 30;
let opened = new AbortController();

const named = () => {
  const given = decodeURIComponent(location.pathname).split("/")[2].trim().toUpperCase();
  return viewer.allSymbols.find((each) => given.startsWith(each)) ?? given;
};

async function open() {
  opened.abort();
  opened = new AbortController();
  const symbol = named();
  document.title = `Confluence of ${symbol} · Tradehouse`;
  byId("heading").textContent = `Confluence of ${symbol}`;
  byId("symbol").value = symbol;
  byId("to-chart").href = `/chart/${symbol}/H1`;
  await Promise.all([refresh(), showHistory()]);
  byId("main").dataset.ready = "true";
}

async function refresh() {
  try {
    show(await api(`/api/confluence/${named()}`, opened.signal));
    byId("fault").textContent = "";
  } catch (error) {
    showFailure(byId("fault"), error);
  }
}

function show({ confluence_score, max_score, signals, breakdown, timestamp }) {
  byId("score").textContent = confluence_score.toFixed(1);
  byId("meter").value = confluence_score;
  byId("meter").max = max_score;
  byId("directions").replaceChildren(
    ...Object.entries(MARKS).map(([name, mark]) => element("span", { class: `direction ${CLASSES[name]}`, text: `${mark} ${signals[name]} ${name}` })),
  );
  byId("at").textContent = `As of ${utc(Date.parse(timestamp) / 1000)}`;
  const head = ["Timeframe", "Trend", "Strength", ...SIGNALS.map((name) => NAMES[name] ?? name.toUpperCase())];
  byId("breakdown").tHead.replaceChildren(
    element("tr", {}, ...head.map((text) => element("th", { scope: "col", text, class: text === "Strength" ? "number" : null }))),
  );
  byId("breakdown").tBodies[0].replaceChildren(...viewer.allTimeframes.map((timeframe) => breakdownRow(timeframe, breakdown[timeframe])));
}

function breakdownRow(timeframe, { trend, strength, signals }) {
  const cells = SIGNALS.map((name) => {
    const found = signals.find(({ signal }) => signal === name);
    return found
      ? element("td", { class: CLASSES[found.direction], text: `${MARKS[found.direction]} ${found.direction}`, title: `Weight ${found.weight}` })
      : element("td", { class: "muted", text: "–" });
  });
  return element(
    "tr",
    { "data-testid": "breakdown-row" },
    element("th", { scope: "row", text: timeframe }),
    element("td", { class: CLASSES[trend] ?? "muted", text: trend ? `${MARKS[trend]} ${trend}` : "no data" }),
    element("td", { class: "number", text: `${Math.round(strength * 100)} %` }),
    ...cells,
  );
}

async function showHistory() {
  const from = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000 - days * 86_400_000).toISOString();
  try {
    const { history } = await api(`/api/confluence/${named()}/history?from=${from}&step=${STEPS[days]}`, opened.signal);
    chart.show([{ points: history.map(({ time, confluence_score }) => ({ time, value: confluence_score })) }]);
  } catch (error) {
    chart.show([]);
    showFailure(byId("fault"), error);
  }
}

byId("symbol").append(...viewer.symbols.map((symbol) => element("option", { value: symbol, text: symbol })));
byId("symbol").addEventListener("change", (event) => {
  history.pushState(null, "", `/confluence/${event.target.value}`);
  open();
});
for (const box of document.querySelectorAll("[name=span]")) {
  box.checked = Number(box.value) === days;
  box.addEventListener("change", () => {
    days = Number(box.value);
    showHistory();
  });
}
addEventListener("popstate", open);
setInterval(() => document.hidden || refresh(), AGAIN_SECONDS * 1000);
open();
