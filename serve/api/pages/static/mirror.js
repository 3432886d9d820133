// The chart's data as a table. It is visually hidden: a canvas tells a screen reader nothing.

import { element, utc } from "./page.js";

export class Mirror {
  #place;
  #rows = new Map();

  constructor(place) {
    this.#place = place;
    this.clear();
  }

  clear() {
    this.#rows.clear();
    this.body = element("tbody");
    this.points = element("ul");
    const head = element("tr", {}, ...["Time", "Open", "High", "Low", "Close"].map((text) => element("th", { scope: "col", text })));
    this.caption = element("caption");
    this.#place.replaceChildren(element("table", {}, this.caption, element("thead", {}, head), this.body), this.points);
  }

  /** Bring table and list up to the bars. Rows that have not changed are left alone. */
  show(bars, title, shown) {
    this.caption.textContent = title;
    let next = this.body.firstElementChild;
    for (const bar of bars.list) {
      const row = this.#row(bar);
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
    }
    this.points.replaceChildren(
      ...(shown.fractals ? bars.fractals : []).map((point) =>
        element("li", { "data-testid": "fractal-marker", "data-kind": point.kind, text: `Fractal ${point.kind} ${point.price} at ${utc(point.time)}` })),
      ...(shown.trendlines ? bars.trendlines : []).map(({ name, from, to }) =>
        element("li", { "data-testid": "trendline", text: `Trendline ${name} from ${from.price} at ${utc(from.time)}${to ? ` to ${to.price} at ${utc(to.time)}` : ", horizontal"}` })),
    );
  }

  #row(bar) {
    const values = [utc(bar.time), bar.open, bar.high, bar.low, bar.close];
    const known = this.#rows.get(bar.time);
    if (known) {
      values.forEach((value, place) => {
        if (known.cells[place].textContent !== String(value)) known.cells[place].textContent = value;
      });
      return known;
    }
    const cells = values.map((value, place) => element(place ? "td" : "th", { scope: place ? null : "row", text: value }));
    const row = element("tr", { "data-testid": "candlestick", "data-time": bar.time }, ...cells);
    this.#rows.set(bar.time, row);
    return row;
  }
}
