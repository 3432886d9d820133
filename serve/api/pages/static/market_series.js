// What the chart of the Indian market draws: its bars, the switches, and the lines they stand for.

const { LineType } = window.LightweightCharts;
const UP = "#26a69a", DOWN = "#ef5350";
const AVERAGES = { 9: "#e08e2b", 20: "#4c8dff", 21: "#4c8dff", 50: "#d1495b", 200: "#7a6ff0" };
const BOLLINGER = "#9c6ade", PIVOT = "#8a93a0", VWAP = "#00acc1", MACD = "#4c8dff", SIGNAL = "#e08e2b", RSI = "#9c6ade";

/** Seconds between UTC and the clock in India, which has no summer time. */
export const INDIA = 5.5 * 3600;

export class MarketBars {
  /** Ascending; each has time, open, high, low, close, volume, oi and the indicators by name, null where there is none. */
  list = [];
  /** What the API says of the instrument. */
  about = null;
  #byTime = new Map();

  /** Take in an answer of /api/market. */
  add({ data, metadata }) {
    const indicators = Object.entries(data.indicators);
    data.ohlc.forEach((bar, place) => {
      const row = { ...bar };
      for (const [name, values] of indicators) row[name] = values[place];
      this.#byTime.set(bar.time, row);
    });
    this.list = [...this.#byTime.values()].sort((one, other) => one.time - other.time);
    this.about = metadata;
  }
}

/** Name, text, colours. */
export const OVERLAYS = [
  ["sma", "SMA", [AVERAGES[20], AVERAGES[50]]],
  ["ema", "EMA", [AVERAGES[9], AVERAGES[200]]],
  ["bollinger", "Bollinger", [BOLLINGER]],
  ["supertrend", "Supertrend", [UP, DOWN]],
  ["pivots", "Pivots", [UP, PIVOT, DOWN]],
  ["vwap", "VWAP", [VWAP]],
  ["volume", "Volume", [UP, DOWN]],
  ["rsi", "RSI", [RSI]],
  ["macd", "MACD", [MACD, SIGNAL]],
];
/** Those that hide much. */
export const OFF_AT_FIRST = ["ema", "supertrend", "pivots", "vwap"];

const averages = (kind, periods) =>
  periods.map((period) => ({
    overlay: kind, color: AVERAGES[period], named: `${kind.toUpperCase()} ${period}`, value: (bar) => bar[`${kind}_${period}`],
    options: kind === "ema" ? { lineStyle: 2 } : {},
  }));
// levels far away must not flatten the candles
const level = (name, color) => ({
  overlay: "pivots", color, value: (bar) => bar[`pivot_${name}`], options: { lineType: LineType.WithSteps, autoscaleInfoProvider: () => null },
});
const amount = (value) => Math.round(value).toLocaleString("en-US");
const fine = (value) => value.toFixed(2);

export const SERIES = [
  ...["upper", "middle", "lower"].map((band) => ({
    overlay: "bollinger", color: BOLLINGER, behind: true, value: (bar) => bar[`bb_${band}`], options: band === "middle" ? { lineStyle: 2 } : {},
  })),
  level("point", PIVOT),
  ...["r1", "r2", "r3"].map((name) => level(name, DOWN)),
  ...["s1", "s2", "s3"].map((name) => level(name, UP)),
  ...averages("sma", [9, 20, 50, 200]),
  ...averages("ema", [9, 21, 50, 200]),
  { overlay: "vwap", color: VWAP, named: "VWAP", value: (bar) => bar.vwap },
  {
    overlay: "supertrend", color: UP, named: "Supertrend", value: (bar) => bar.supertrend, options: { lineWidth: 2 },
    colorOf: (bar) => (bar.supertrend_direction < 0 ? DOWN : UP),
  },
  {
    overlay: "volume", pane: "volume", color: UP, histogram: true, named: "Volume", format: amount, value: (bar) => bar.volume,
    colorOf: (bar) => (bar.close < bar.open ? DOWN : UP), options: { priceFormat: { type: "volume" } },
  },
  { overlay: "volume", pane: "volume", color: SIGNAL, value: (bar) => bar.volume_sma_20, options: { priceFormat: { type: "volume" } } },
  {
    overlay: "rsi", pane: "rsi", color: RSI, named: "RSI", format: fine, value: (bar) => bar.rsi_14, levels: [70, 30],
    options: { autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 100 } }) },
  },
  {
    overlay: "macd", pane: "macd", color: UP, histogram: true, value: (bar) => bar.macd_histogram,
    colorOf: (bar) => (bar.macd_histogram < 0 ? DOWN : UP),
  },
  { overlay: "macd", pane: "macd", color: MACD, named: "MACD", format: fine, value: (bar) => bar.macd },
  { overlay: "macd", pane: "macd", color: SIGNAL, named: "Signal", format: fine, value: (bar) => bar.macd_signal },
];

/** Columns of the hidden table beside the prices. */
export const COLUMNS = [
  ["Volume", (bar) => bar.volume],
  ["RSI", (bar) => bar.rsi_14],
  ["MACD", (bar) => bar.macd],
];
