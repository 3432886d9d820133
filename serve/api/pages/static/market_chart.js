// The page /market/{instrument}/{timeframe}.

import { CandleChart } from "./candle_chart.js";
import { showLegend } from "./legend.js";
import { poll } from "./live.js";
import { Loader } from "./loader.js";
import { COLUMNS, INDIA, MarketBars, OFF_AT_FIRST, OVERLAYS, SERIES } from "./market_series.js";
import { Mirror } from "./mirror.js";
import { byId, element, utc, viewer } from "./page.js";
import { makeSwitches } from "./switches.js";

const AGAIN_SECONDS = 60; // an answer 304 is not counted

const place = { instrument: "", timeframe: "" };

const shown = makeSwitches(OVERLAYS, "market", OFF_AT_FIRST, () => {
  chart.refresh();
  tell(null);
});
const chart = new CandleChart({ shown, series: SERIES, shift: INDIA, onOlder: () => loader.loadOlder(), onCrosshair: tell });
const mirror = new Mirror(byId("mirror"), COLUMNS, clock);
const loader = new Loader({
  question: (limit, before) => `/api/market/${encodeURIComponent(place.instrument)}/${place.timeframe}?limit=${limit}${before ? `&before=${before}` : ""}`,
  empty: () => new MarketBars(),
  chart: () => chart,
  shown: () => {
    describe();
    mirror.show(loader.bars.list, `Bars of ${title()}, oldest first`);
    tell(null);
  },
  cleared: () => {
    mirror.clear();
    tell(null);
  },
  failed: offerChoices,
  watch: (changed) => poll(AGAIN_SECONDS, changed, showState),
});

function open() {
  mirror.clear();
  describe();
  loader.open();
}

/** A moment as clocks in India show it; of a day only the day. */
function clock(time) {
  const text = utc(time + INDIA);
  return place.timeframe === "1d" ? text.slice(0, 10) : text;
}

const title = () => `${loader.bars.about?.trading_symbol ?? place.instrument.toUpperCase()} ${place.timeframe}`;

function describe() {
  const { about } = loader.bars;
  document.title = `${title()} · Tradehouse`;
  byId("heading").textContent = `Chart of ${title()}`;
  byId("chart").setAttribute("aria-label", `Chart of ${title()}`);
  byId("about").textContent = about ? [about.name, about.segment, about.is_listed ? null : "no longer listed"].filter(Boolean).join(" · ") : "";
  for (const box of document.querySelectorAll("[name=timeframe]")) box.checked = box.value === place.timeframe;
}

function tell(at) {
  showLegend(loader.bars.list, at, { title: title(), clock, series: SERIES, shown });
}

function showState(name, text) {
  byId("live").dataset.state = name;
  byId("live").textContent = text;
}

/** Several instruments may have the symbol: let the reader choose. */
function offerChoices({ choices }, message) {
  if (!choices) return;
  message.append(
    element("ul", { class: "plain" }, ...choices.map(({ instrument_id, trading_symbol, segment }) =>
      element("li", {}, element("a", { href: `/market/${instrument_id}/${place.timeframe}`, text: `${trading_symbol}, ${segment}` })))),
  );
}

for (const timeframe of viewer.marketTimeframes ?? []) {
  const box = element("input", { type: "radio", name: "timeframe", value: timeframe });
  box.addEventListener("change", () => {
    place.timeframe = timeframe;
    history.pushState(null, "", `/market/${encodeURIComponent(place.instrument)}/${timeframe}`);
    open();
  });
  byId("timeframes").append(element("label", {}, box, element("span", { text: timeframe })));
}

function readPath() {
  const [, , instrument, timeframe] = location.pathname.split("/").map(decodeURIComponent);
  Object.assign(place, { instrument: instrument.trim(), timeframe: timeframe.trim().toLowerCase() });
}

readPath();
addEventListener("popstate", () => {
  readPath();
  open();
});
open();
