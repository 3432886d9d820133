// The chart of candles on its canvas: series, colours, scrolling and the keys.

import { byId, decimals, isDark, onTheme } from "./page.js";
import { themed } from "./themed.js";

const { createChart, CandlestickSeries, HistogramSeries, LineSeries, CrosshairMode } = window.LightweightCharts;

const CANDLES = { up: "#26a69a", down: "#ef5350" };
const QUIET = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, lineWidth: 1 };
const PRICES_SHARE = 3; // of the height, where a pane below has one

export class CandleChart {
  #chart;
  #candles;
  #over = []; // [what, series] of the pane of the prices
  #below = []; // [what, series] of the panes below it
  #drawing;
  #bars;
  #before = { first: null, length: 0 };

  /**
   * @param shown which overlays are on
   * @param series what is drawn beside the candles: [{overlay, color, value: bar => number or null, and where need be
   *   colorOf: bar => color, options, histogram, behind (the candles), pane (a name: it has a pane of its own, below),
   *   levels (horizontal lines)}]
   * @param colors (bar, shown) => the colours of a candle, or null for the usual ones
   * @param draw (bars, shown) => a primitive that is drawn over the candles, or null
   * @param shift seconds between UTC and the clock that the time axis shows
   * @param onOlder called when the view comes near the oldest loaded bar
   * @param onCrosshair called with the place of the bar under the crosshair, or null
   */
  constructor({ shown, series, colors = () => null, draw = null, shift = 0, onOlder, onCrosshair }) {
    Object.assign(this, { shown, series, colors, draw, shift });
    this.#chart = createChart(byId("chart"), {
      ...themed(isDark()), autoSize: true, crosshair: { mode: CrosshairMode.Normal },
    });
    this.#chart.timeScale().applyOptions({ rightOffset: 6, barSpacing: 8, minBarSpacing: 0.5 });
    const over = (behind) => series.filter((each) => !each.pane && Boolean(each.behind) === behind).map((each) => [each, this.#made(each, 0)]);
    this.#over = over(true);
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      upColor: CANDLES.up, downColor: CANDLES.down, wickUpColor: CANDLES.up, wickDownColor: CANDLES.down,
      borderUpColor: CANDLES.up, borderDownColor: CANDLES.down,
    });
    this.#over.push(...over(false));
    onTheme(() => this.#chart.applyOptions(themed(isDark())));
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < 30 && this.#bars?.list.length) onOlder();
    });
    this.#chart.subscribeCrosshairMove(({ logical, point }) => {
      onCrosshair(point && this.#bars?.list[logical] ? logical : null);
    });
    byId("chart").addEventListener("keydown", (event) => this.#key(event));
  }

  #made({ color, histogram, options, levels = [] }, pane) {
    const made = this.#chart.addSeries(histogram ? HistogramSeries : LineSeries, { ...QUIET, color, ...options }, pane);
    for (const price of levels) made.createPriceLine({ price, color, lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    return made;
  }

  /** Show other bars from their newest on. */
  open(bars) {
    this.#bars = bars;
    if (this.draw) {
      if (this.#drawing) this.#candles.detachPrimitive(this.#drawing);
      this.#drawing = this.draw(bars, this.shown);
      this.#candles.attachPrimitive(this.#drawing);
    }
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
    this.#arrangePanes();
    const precision = decimals(list.slice(-200).map((bar) => bar.close));
    const priceFormat = { type: "price", precision, minMove: 10 ** -precision };
    for (const series of [this.#candles, ...this.#over.map(([, made]) => made)]) series.applyOptions({ priceFormat });
    this.#candles.setData(list.map((bar) => this.#candle(bar)));
    for (const [what, made] of [...this.#over, ...this.#below]) made.setData(this.shown[what.overlay] ? list.map((bar) => this.#point(what, bar)) : []);
    if (away) {
      const added = list.findIndex((bar) => bar.time === first);
      scale.setVisibleLogicalRange({ from: view.from + added, to: view.to + added });
    }
    this.#before = { first: list[0]?.time ?? null, length: list.length };
    this.#drawing?.requestUpdate?.();
  }

  /** Panes that are on, in their order; the library takes one away with its last series. */
  #arrangePanes() {
    const wanted = this.series.filter(({ pane, overlay }) => pane && this.shown[overlay]);
    if (wanted.length === this.#below.length && wanted.every((what, place) => what === this.#below[place][0])) return;
    for (const [, made] of this.#below) this.#chart.removeSeries(made);
    const names = [...new Set(wanted.map(({ pane }) => pane))];
    this.#below = wanted.map((what) => [what, this.#made(what, 1 + names.indexOf(what.pane))]);
    this.#chart.panes()[0].setStretchFactor(PRICES_SHARE);
  }

  #candle(bar) {
    const { time, open, high, low, close } = bar;
    return { time: time + this.shift, open, high, low, close, ...this.colors(bar, this.shown) };
  }

  #point({ value, colorOf }, bar) {
    const time = bar.time + this.shift;
    const at = value(bar);
    if (at == null) return { time };
    return colorOf ? { time, value: at, color: colorOf(bar) } : { time, value: at };
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
