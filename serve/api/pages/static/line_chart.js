// A small chart of lines over time.

import { isDark, onTheme } from "./page.js";
import { themed } from "./themed.js";

const COLORS = ["#2a9d8f", "#e08e2b", "#7a6ff0", "#d1495b", "#4c8dff"];

export class LineChart {
  #chart;
  #series = [];
  #range;
  #area;

  /** @param range [least, most] of the value axis, where it is fixed; @param area whether the space to zero is filled */
  constructor(place, { range = null, area = false } = {}) {
    const { createChart } = window.LightweightCharts;
    this.#range = range && { priceRange: { minValue: range[0], maxValue: range[1] } };
    this.#area = area;
    this.#chart = createChart(place, { ...themed(isDark()), autoSize: true });
    onTheme(() => this.#chart.applyOptions(themed(isDark())));
  }

  /** Show these lines: [{name, points: [{time, value}], pane}], each ascending; pane 1 is below pane 0. */
  show(lines) {
    const { LineSeries, BaselineSeries } = window.LightweightCharts;
    for (const series of this.#series) this.#chart.removeSeries(series);
    this.#series = lines.map(({ name, points, pane = 0 }, place) => {
      const color = COLORS[place % COLORS.length];
      const common = { title: name ?? "", lineWidth: 2, priceLineVisible: false };
      if (this.#range) common.autoscaleInfoProvider = () => this.#range;
      const series = this.#area
        ? this.#chart.addSeries(BaselineSeries, { ...common, baseValue: { type: "price", price: 0 } }, pane)
        : this.#chart.addSeries(LineSeries, { ...common, color }, pane);
      series.setData(points);
      return series;
    });
    this.#chart.timeScale().fitContent();
  }
}
