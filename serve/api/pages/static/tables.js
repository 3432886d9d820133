// Plain tables from rows.

import { element } from "./page.js";

/** A number with at most `digits` decimals, or a dash. */
export const number = (value, digits = 2) =>
  value == null ? "–" : Number(value).toLocaleString("en-US", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits });

/** "up" or "down", by the sign. */
export const direction = (value) => (value > 0 ? "up" : value < 0 ? "down" : "");

/**
 * Fill a table. Columns: [{head, of: row => text, number, sign: row => value whose sign colours the cell}].
 */
export function fill(table, columns, rows, empty = "None.") {
  table.tHead.replaceChildren(
    element("tr", {}, ...columns.map(({ head, number }) => element("th", { scope: "col", text: head, class: number ? "number" : null }))),
  );
  const cells = (row) =>
    columns.map(({ of, number, sign }) => element("td", { class: `${number ? "number " : ""}${sign ? direction(sign(row)) : ""}`.trim() || null, text: of(row) ?? "–" }));
  table.tBodies[0].replaceChildren(
    ...rows.map((row) => element("tr", {}, ...cells(row))),
    ...(rows.length ? [] : [element("tr", {}, element("td", { class: "muted", colspan: columns.length, text: empty }))]),
  );
}
