// The line over the chart that tells the values of a bar.

import { byId, decimals, element, signed } from "./page.js";

/**
 * Show the bar at this place, or the newest one.
 * @param title name of what is shown; @param clock (time) => text; @param series as CandleChart has them: those that are
 *   `named` and `shown` are told
 */
export function showLegend(list, at, { title, clock, series, shown }) {
  const place = at ?? list.length - 1;
  const bar = list[place];
  const legend = byId("legend");
  if (!bar) return legend.replaceChildren();
  const digits = decimals(list.slice(-200).map((each) => each.close));
  const price = (value) => value.toFixed(digits);
  const before = list[place - 1];
  const change = before ? bar.close - before.close : 0;
  const direction = bar.close >= bar.open ? "up" : "down";
  const pair = (name, value, color) =>
    element("span", { class: color ? "indicator" : null }, color ? swatch(color) : null, element("span", { class: "muted", text: name }), element("span", { class: color ? null : direction, text: value }));
  const told = series.filter(({ named, overlay, value }) => named && shown[overlay] && value(bar) != null);
  return legend.replaceChildren(
    element("b", { text: title }),
    element("span", { text: clock(bar.time) }),
    ...["open", "high", "low", "close"].map((name) => pair(name[0].toUpperCase(), price(bar[name]))),
    element("span", { class: change >= 0 ? "up" : "down", text: before ? `${signed(change, digits)} (${signed((change / before.close) * 100, 2)} %)` : "" }),
    ...told.map(({ named, color, colorOf, value, format = price }) => pair(named, format(value(bar)), colorOf?.(bar) ?? color)),
  );
}

function swatch(color) {
  const made = element("i");
  made.style.background = color;
  return made;
}
