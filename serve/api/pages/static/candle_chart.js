// The chart of candles on its canvas: series, colours, scrolling and the keys.

import { AVERAGES, BANDS } from "./bars.js";
import { Drawing } from "./drawing.js";
import { byId, decimals, isDark, onTheme } from "./page.js";
import { themed } from "./themed.js";

const { createChart, CandlestickSeries, LineSeries, CrosshairMode } = window.LightweightCharts;

export const LINES = { tema: "#808080", hrma: "#00CED1", smma: "#0000FF" };
/** From the outermost band to the innermost, and back. */
export const KELTNER = BANDS.map((_, place) => mixed("#9C27B0", "#FF5722", Math.min(place, 9 - place) / 4));
export const MOMENTUM = { 1: "#00897b", 2: "#004d40", 4: "#c62828", 5: "#7f0000" };
const CANDLES = { up: "#26a69a", down: "#ef5350" };

function mixed(from, to, share) {
  const parts = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  const target = parts(to);
  return `rgb(${parts(from).map((part, place) => Math.round(part + (target[place] - part) * share)).join(", ")})`;
}

export class CandleChart {
  #chart;
  #candles;
  #lines = {};
  #bands = [];
  #drawing;
  #bars;
  #before = { first: null, length: 0 };

  /**
   * @param shown which overlays are on
   * @param onOlder called when the view comes near the oldest loaded bar
   * @param onCrosshair called with the place of the bar under the crosshair, or null
   */
  constructor(shown, onOlder, onCrosshair) {
    this.shown = shown;
    this.#chart = createChart(byId("chart"), {
      ...themed(isDark()), autoSize: true, crosshair: { mode: CrosshairMode.Normal },
    });
    this.#chart.timeScale().applyOptions({ rightOffset: 6, barSpacing: 8, minBarSpacing: 0.5 });
    const quiet = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };
    const line = (color, options) => this.#chart.addSeries(LineSeries, { ...quiet, color, ...options });
    // outlying bands must not flatten the candles
    this.#bands = KELTNER.map((color) => line(color, { lineWidth: 1, autoscaleInfoProvider: () => null }));
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      upColor: CANDLES.up, downColor: CANDLES.down, wickUpColor: CANDLES.up, wickDownColor: CANDLES.down,
      borderUpColor: CANDLES.up, borderDownColor: CANDLES.down,
    });
    for (const name of AVERAGES) this.#lines[name] = line(LINES[name], { lineWidth: name === "smma" ? 2 : 1 });
    onTheme(() => this.#chart.applyOptions(themed(isDark())));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 30 && this.#bars?.list.length) onOlder();
    });
    this.#chart.subscribeCrosshairMove(({ logical, point }) => {
      onCrosshair(point && this.#bars?.list[logical] ? logical : null);
    });
    byId("chart").addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show other bars from their newest on. */
  open(bars) {
    this.#bars = bars;
    if (this.#drawing) this.#candles.detachPrimitive(this.#drawing);
    this.#drawing = new Drawing(bars, this.shown);
    this.#candles.attachPrimitive(this.#drawing);
    this.#before = { first: null, length: 0 };
    this.refresh();
    this.#chart.priceScale("right").applyOptions({ autoScale: true });
    const length = bars.list.length;
    if (length) this.#chart.timeScale().setVisibleLogicalRange({ from: length - this.#fitting(), to: length + 5 });
  }

  /** Draw the bars again after a change of them. Who has scrolled back keeps seeing the same bars. */
  refresh() {
    const { list } = this.#bars;
    const scale = this.#chart.timeScale();
    const view = scale.getVisibleLogicalRange();
    const { first, length } = this.#before;
    const away = view !== null && first !== null && view.to < length - 1;
    const precision = decimals(list.slice(-200).map((bar) => bar.close));
    const priceFormat = { type: "price", precision, minMove: 10 ** -precision };
    for (const series of [this.#candles, ...Object.values(this.#lines), ...this.#bands]) series.applyOptions({ priceFormat });
    this.#candles.setData(list.map((bar) => this.#candle(bar)));
    const points = (value) => list.map((bar) => (value(bar) == null ? { time: bar.time } : { time: bar.time, value: value(bar) }));
    for (const name of AVERAGES) this.#lines[name].setData(this.shown[name] ? points((bar) => bar[name]) : []);
    this.#bands.forEach((series, place) => series.setData(this.shown.keltner ? points((bar) => bar.bands?.[place]) : []));
    if (away) {
      const added = list.findIndex((bar) => bar.time === first);
      scale.setVisibleLogicalRange({ from: view.from + added, to: view.to + added });
    }
    this.#before = { first: list[0]?.time ?? null, length: list.length };
    this.#drawing.requestUpdate?.();
  }

  #candle({ time, open, high, low, close, momentum }) {
    const candle = { time, open, high, low, close };
    const color = this.shown.momentum && MOMENTUM[momentum];
    if (!color) return candle;
    return { ...candle, color, borderColor: momentum < 3 ? MOMENTUM[1] : MOMENTUM[4], wickColor: momentum < 3 ? MOMENTUM[1] : MOMENTUM[4] };
  }

  #fitting() {
    return Math.max(40, Math.floor(byId("chart").clientWidth / 8));
  }

  #key(event) {
    const scale = this.#chart.timeScale();
    const view = scale.getVisibleLogicalRange();
    if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
    const width = view.to - view.from;
    const show = (from, to) => scale.setVisibleLogicalRange({ from, to });
    const actions = {
      ArrowLeft: () => show(view.from - width / 10, view.to - width / 10),
      ArrowRight: () => show(view.from + width / 10, view.to + width / 10),
      "+": () => show(view.from + width / 5, view.to),
      "-": () => show(view.from - width / 4, view.to),
      Home: () => show(0, width),
      End: () => scale.scrollToRealTime(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  }
}
