// The chart's data as a table. It is visually hidden: a canvas tells a screen reader nothing.

import { element, utc } from "./page.js";

const PRICES = ["open", "high", "low", "close"].map((name) => [name[0].toUpperCase() + name.slice(1), (bar) => bar[name]]);

export class Mirror {
  #place;
  #columns;
  #clock;
  #rows = new Map();

  /** @param columns [[head, bar => value]] beside the prices; @param clock (time) => text */
  constructor(place, columns = [], clock = utc) {
    this.#place = place;
    this.#columns = [...PRICES, ...columns];
    this.#clock = clock;
    this.clear();
  }

  clear() {
    this.#rows.clear();
    this.body = element("tbody");
    this.points = element("ul");
    const heads = ["Time", ...this.#columns.map(([head]) => head)];
    const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })));
    this.caption = element("caption");
    this.#place.replaceChildren(element("table", {}, this.caption, element("thead", {}, head), this.body), this.points);
  }

  /** Bring the table up to the bars. Rows that have not changed are left alone. */
  show(list, title) {
    this.caption.textContent = title;
    let next = this.body.firstElementChild;
    for (const bar of list) {
      const row = this.#row(bar);
      if (row === next) next = next.nextElementSibling;
      else this.body.insertBefore(row, next);
    }
  }

  /** List what is drawn beside the bars. */
  list(items) {
    this.points.replaceChildren(...items);
  }

  #row(bar) {
    const values = [this.#clock(bar.time), ...this.#columns.map(([, value]) => value(bar) ?? "")];
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
