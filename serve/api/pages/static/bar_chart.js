// A small chart of sums over time: a bar up or down from zero for each.

import { isDark, onTheme } from "./page.js";
import { themed } from "./themed.js";

const UP = "#26a69a", DOWN = "#ef5350";

/** Another chart of the page has the logo: two would have the same id. */
const look = () => {
  const { layout, ...rest } = themed(isDark());
  return { ...rest, layout: { ...layout, attributionLogo: false } };
};

export class BarChart {
  #chart;
  #series;

  /** @param label makes the text of a time, which is in Unix seconds */
  constructor(place, label) {
    const { createChart, HistogramSeries } = window.LightweightCharts;
    const axis = { localization: { timeFormatter: label }, timeScale: { tickMarkFormatter: label } };
    this.#chart = createChart(place, { ...look(), autoSize: true });
    this.#chart.applyOptions(axis);
    this.#series = this.#chart.addSeries(HistogramSeries, { priceLineVisible: false, lastValueVisible: false });
    onTheme(() => this.#chart.applyOptions(look()));
  }

  /** Show these: [{time, value}], ascending; without a value a place stays empty. */
  show(points) {
    this.#series.setData(points.map((point) => (point.value == null ? { time: point.time } : { ...point, color: point.value < 0 ? DOWN : UP })));
    this.#chart.timeScale().fitContent();
  }
}
