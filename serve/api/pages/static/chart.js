// The page /chart/{symbol}/{timeframe}.

import { Bars } from "./bars.js";
import { CandleChart } from "./candle_chart.js";
import { Drawing } from "./drawing.js";
import { showLegend } from "./legend.js";
import { watch } from "./live.js";
import { Loader } from "./loader.js";
import { Mirror } from "./mirror.js";
import { OVERLAYS, SERIES, momentumColors } from "./overlays.js";
import { api, byId, element, utc, viewer } from "./page.js";
import { makeSwitches } from "./switches.js";

const SCORE_SECONDS = 300; // the score is asked for at most so often: requests are counted

const place = { symbol: "", timeframe: "", kind: localStorage.getItem("chart.bars") ?? "resampled" };
let scoreAsked = 0;

const shown = makeSwitches(OVERLAYS, "chart", ["keltner"], () => { // ten bands hide much
  chart.refresh();
  showAll();
});
const chart = new CandleChart({
  shown, series: SERIES, colors: momentumColors, draw: (bars) => new Drawing(bars, shown), onOlder: () => loader.loadOlder(), onCrosshair: tell,
});
const mirror = new Mirror(byId("mirror"));
const loader = new Loader({
  question: (limit, before) => `/api/indicators/${place.symbol}/${place.timeframe}?limit=${limit}&bars=${place.kind}${before ? `&before=${before}` : ""}`,
  empty: () => new Bars(),
  chart: () => chart,
  shown: (answer) => {
    showAll();
    if (answer) showScore(loader.signal);
  },
  cleared: () => {
    mirror.clear();
    tell(null);
  },
  watch: (changed) => watch(place.symbol, place.timeframe, changed, showState),
});

function open() {
  scoreAsked = 0;
  mirror.clear();
  byId("confluence").hidden = true;
  describe();
  loader.open();
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
  const { bars } = loader;
  for (const [name, , , columns] of OVERLAYS) {
    const box = byId(`show-${name}`);
    box.disabled = columns.every((column) => bars.withheld.has(column));
    if (box.disabled) box.checked = false;
    else box.checked = shown[name];
  }
  mirror.show(bars.list, `Bars of ${place.symbol} ${place.timeframe}, oldest first`);
  mirror.list([
    ...(shown.fractals ? bars.fractals : []).map((point) =>
      element("li", { "data-testid": "fractal-marker", "data-kind": point.kind, text: `Fractal ${point.kind} ${point.price} at ${utc(point.time)}` })),
    ...(shown.trendlines ? bars.trendlines : []).map(({ name, from, to }) =>
      element("li", { "data-testid": "trendline", text: `Trendline ${name} from ${from.price} at ${utc(from.time)}${to ? ` to ${to.price} at ${utc(to.time)}` : ", horizontal"}` })),
  ]);
  tell(null);
  showUpgrade();
}

function tell(at) {
  showLegend(loader.bars.list, at, { title: `${place.symbol} ${place.timeframe}`, clock: utc, series: SERIES, shown });
}

function showState(name, text) {
  byId("live").dataset.state = name;
  byId("live").textContent = text;
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
  byId("chart").setAttribute("aria-label", `Chart of ${name}`);
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
}

makeControls();
readPath();
addEventListener("popstate", () => {
  readPath();
  open();
});
open();
