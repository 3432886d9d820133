// The page /chart/{symbol}/{timeframe}.

import { AVERAGES, Bars } from "./bars.js";
import { CandleChart, KELTNER, LINES, MOMENTUM } from "./candle_chart.js";
import { COLORS } from "./drawing.js";
import { watch } from "./live.js";
import { Mirror } from "./mirror.js";
import { api, byId, decimals, element, showFailure, signed, utc, viewer } from "./page.js";

const PAGE = 1000; // bars of a request
const SCORE_SECONDS = 300; // the score is asked for at most so often: requests are counted
const OVERLAYS = [
  ["fractals", "Fractals", [COLORS.peak, COLORS.bottom], ["fractals"]],
  ["trendlines", "Trendlines", [COLORS.bottom, COLORS.peak], ["horizontal_trendlines", "diagonal_trendlines"]],
  ["tema", "TEMA", [LINES.tema], ["tema"]],
  ["hrma", "HRMA", [LINES.hrma], ["hrma"]],
  ["smma", "SMMA", [LINES.smma], ["smma"]],
  ["keltner", "Keltner", [KELTNER[0], KELTNER[4]], ["keltner_channels"]],
  ["zigzag", "Zigzag", [COLORS.zigzag], ["zigzag"]],
  ["momentum", "Momentum", [MOMENTUM[1], MOMENTUM[4]], ["momentum_candles"]],
];

const AT_FIRST = { keltner: "off" }; // ten bands hide much
const shown = Object.fromEntries(
  OVERLAYS.map(([name]) => [name, (localStorage.getItem(`chart.${name}`) ?? AT_FIRST[name]) !== "off"]),
);
const place = { symbol: "", timeframe: "", kind: localStorage.getItem("chart.bars") ?? "resampled" };
let bars = new Bars();
let opened = new AbortController(); // of everything that belongs to the place shown
let exhausted = false; // no older bars
let loadingOlder = false;
let stopWatching = () => {};
let scoreAsked = 0;

const chart = new CandleChart(shown, loadOlder, showLegend);
const mirror = new Mirror(byId("mirror"));
const container = byId("chart");
const message = byId("chart-message");

// --- data ----------------------------------------------------------------------------------

const question = (before) =>
  `/api/indicators/${place.symbol}/${place.timeframe}?limit=${PAGE}&bars=${place.kind}` +
  (before ? `&before=${new Date(before * 1000).toISOString()}` : "");

/** Show the place anew. */
async function open() {
  opened.abort();
  stopWatching();
  opened = new AbortController();
  const { signal } = opened;
  bars = new Bars();
  exhausted = loadingOlder = false;
  scoreAsked = 0;
  container.removeAttribute("data-ready");
  container.setAttribute("aria-busy", "true");
  message.textContent = "";
  byId("confluence").hidden = true;
  describe();
  if (!(await refresh(signal))) return;
  stopWatching = watch(place.symbol, place.timeframe, oneAtATime(() => refresh(signal)), showState);
}

/** Load the newest bars. Whether that went well, or is worth another attempt. */
async function refresh(signal) {
  try {
    const answer = await api(question(), signal);
    const first = !bars.list.length;
    bars.add(answer, true);
    if (first) exhausted = answer.data.ohlc.length < PAGE;
    if (first) chart.open(bars);
    else chart.refresh();
    message.textContent = "";
    byId("updated").textContent = answer.stale ? "The warehouse is away: these bars are from before." : `Loaded ${utc(Date.now() / 1000)}`;
    showAll();
    showScore(signal);
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    if (!bars.list.length) {
      chart.open(bars);
      mirror.clear();
      container.dataset.bars = 0;
      showLegend(null);
    }
    showFailure(bars.list.length ? byId("updated") : message, error);
    container.removeAttribute("aria-busy");
    container.dataset.ready = "true";
    return ![400, 401, 403].includes(error.status);
  }
}

/** A function that runs `task`, and once more after it where it was called meanwhile. */
function oneAtATime(task) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await task();
      }
    } finally {
      running = false;
    }
  };
}

async function loadOlder() {
  if (exhausted || loadingOlder || !bars.list.length) return;
  loadingOlder = true;
  const { signal } = opened;
  try {
    const answer = await api(question(bars.list[0].time), signal);
    bars.add(answer, false);
    exhausted = answer.data.ohlc.length < PAGE;
    chart.refresh();
    showAll();
  } catch (error) {
    if (error.name === "AbortError") return;
    exhausted = error.status === 404;
    if (!exhausted) {
      showFailure(byId("updated"), error);
      await new Promise((done) => setTimeout(done, Math.max(error.retryAfter, 5) * 1000));
    }
  } finally {
    if (!signal.aborted) loadingOlder = false;
  }
}

async function showScore(signal) {
  if (!viewer.confluence || Date.now() - scoreAsked < SCORE_SECONDS * 1000) return;
  scoreAsked = Date.now();
  try {
    const answer = await api(`/api/confluence/${place.symbol}`, signal);
    const link = byId("confluence");
    link.href = `/confluence/${place.symbol}`;
    link.textContent = `Confluence ${answer.confluence_score} of ${answer.max_score}`;
    link.hidden = false;
  } catch (error) {
    if (error.name !== "AbortError") byId("confluence").hidden = true;
  }
}

// --- what is shown -------------------------------------------------------------------------

function showAll() {
  for (const [name, , , columns] of OVERLAYS) {
    const box = byId(`show-${name}`);
    box.disabled = columns.every((column) => bars.withheld.has(column));
    if (box.disabled) box.checked = false;
    else box.checked = shown[name];
  }
  mirror.show(bars, `Bars of ${place.symbol} ${place.timeframe}, oldest first`, shown);
  showLegend(null);
  showUpgrade();
  container.dataset.bars = bars.list.length;
  container.dataset.ready = "true";
  container.removeAttribute("aria-busy");
}

function showState(name, text) {
  byId("live").dataset.state = name;
  byId("live").textContent = text;
}

function showLegend(at) {
  const bar = bars.list[at ?? bars.list.length - 1];
  const legend = byId("legend");
  if (!bar) return legend.replaceChildren();
  const digits = decimals(bars.list.slice(-200).map((each) => each.close));
  const price = (value) => value.toFixed(digits);
  const before = bars.list[(at ?? bars.list.length - 1) - 1];
  const change = before ? bar.close - before.close : 0;
  const direction = bar.close >= bar.open ? "up" : "down";
  const pair = (name, value, color) =>
    element("span", {}, color ? swatch(color) : null, element("span", { class: "muted", text: name }), element("span", { class: color ? null : direction, text: value }));
  const averages = AVERAGES.filter((name) => shown[name] && bar[name] != null);
  return legend.replaceChildren(
    element("b", { text: `${place.symbol} ${place.timeframe}` }),
    element("span", { text: utc(bar.time) }),
    ...["open", "high", "low", "close"].map((name) => pair(name[0].toUpperCase(), price(bar[name]))),
    element("span", { class: change >= 0 ? "up" : "down", text: before ? `${signed(change, digits)} (${signed((change / before.close) * 100, 2)} %)` : "" }),
    ...averages.map((name) => pair(name.toUpperCase(), price(bar[name]), LINES[name])),
  );
}

function swatch(color) {
  const made = element("i");
  made.style.background = color;
  return made;
}

function showUpgrade() {
  const missing = OVERLAYS.filter(([name]) => byId(`show-${name}`).disabled).map(([, text]) => text);
  if (!viewer.confluence) missing.push("confluence");
  if (!viewer.stream) missing.push("live updates");
  const symbols = viewer.allSymbols.length - viewer.symbols.length;
  const timeframes = viewer.allTimeframes.length - viewer.timeframes.length;
  if (symbols) missing.push(`${symbols} more symbols`);
  if (timeframes) missing.push(`${timeframes} more timeframes`);
  byId("upgrade").textContent = missing.length ? `What is grey needs PRO, which adds ${missing.slice(0, -1).join(", ")}${missing.length > 1 ? " and " : ""}${missing.at(-1)}.` : "";
}

/** Title, heading and controls say which place is shown. */
function describe() {
  const name = `${place.symbol} ${place.timeframe}`;
  document.title = `${name} · Tradehouse`;
  byId("heading").textContent = `Chart of ${name}`;
  container.setAttribute("aria-label", `Chart of ${name}`);
  byId("symbol").value = place.symbol;
  for (const box of document.querySelectorAll("[name=timeframe]")) box.checked = box.value === place.timeframe;
  for (const box of document.querySelectorAll("[name=bars]")) box.checked = box.value === place.kind;
}

// --- controls ------------------------------------------------------------------------------

function go(change) {
  Object.assign(place, change);
  history.pushState(null, "", `/chart/${place.symbol}/${place.timeframe}`);
  open();
}

function readPath() {
  const [, , symbol, timeframe] = decodeURIComponent(location.pathname).toUpperCase().split("/");
  place.symbol = viewer.allSymbols.find((each) => symbol.trim().startsWith(each)) ?? symbol;
  place.timeframe = timeframe.trim();
}

function drawing(colors) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  colors.forEach((color, index) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const box = { x: (12 / colors.length) * index, y: 2, width: 12 / colors.length, height: 8, fill: color };
    for (const [key, value] of Object.entries(box)) part.setAttribute(key, value);
    svg.append(part);
  });
  return svg;
}

function makeControls() {
  const option = (allowed) => (symbol) => element("option", { value: symbol, text: symbol, disabled: !allowed });
  const locked = viewer.allSymbols.filter((symbol) => !viewer.symbols.includes(symbol));
  byId("symbol").append(...viewer.symbols.map(option(true)));
  if (locked.length) byId("symbol").append(element("optgroup", { label: "With PRO" }, ...locked.map(option(false))));
  byId("symbol").addEventListener("change", (event) => go({ symbol: event.target.value }));
  for (const timeframe of viewer.allTimeframes) {
    const disabled = !viewer.timeframes.includes(timeframe);
    const box = element("input", { type: "radio", name: "timeframe", value: timeframe, disabled });
    box.addEventListener("change", () => go({ timeframe }));
    byId("timeframes").append(element("label", { title: disabled ? "With PRO" : null }, box, element("span", { text: timeframe })));
  }
  for (const box of document.querySelectorAll("[name=bars]")) {
    box.addEventListener("change", () => {
      place.kind = box.value;
      localStorage.setItem("chart.bars", box.value);
      open();
    });
  }
  for (const [name, text, colors] of OVERLAYS) {
    const box = element("input", { type: "checkbox", id: `show-${name}`, checked: shown[name] });
    box.addEventListener("change", () => {
      shown[name] = box.checked;
      localStorage.setItem(`chart.${name}`, box.checked ? "on" : "off");
      chart.refresh();
      showAll();
    });
    byId("overlays").append(element("label", {}, box, element("span", {}, drawing(colors), text)));
  }
}

makeControls();
readPath();
addEventListener("popstate", () => {
  readPath();
  open();
});
open();
