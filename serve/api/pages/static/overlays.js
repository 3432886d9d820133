// What the chart of /chart draws over its candles: the switches, and the lines they stand for.

import { AVERAGES, BANDS } from "./bars.js";
import { COLORS } from "./drawing.js";

const LINES = { tema: "#808080", hrma: "#00CED1", smma: "#0000FF" };
/** From the outermost band to the innermost, and back. */
const KELTNER = BANDS.map((_, place) => mixed("#9C27B0", "#FF5722", Math.min(place, 9 - place) / 4));
const MOMENTUM = { 1: "#00897b", 2: "#004d40", 4: "#c62828", 5: "#7f0000" };

function mixed(from, to, share) {
  const parts = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
  const target = parts(to);
  return `rgb(${parts(from).map((part, place) => Math.round(part + (target[place] - part) * share)).join(", ")})`;
}

/** Name, text, colours, and the columns without which there is nothing to draw. */
export const OVERLAYS = [
  ["fractals", "Fractals", [COLORS.peak, COLORS.bottom], ["fractals"]],
  ["trendlines", "Trendlines", [COLORS.bottom, COLORS.peak], ["horizontal_trendlines", "diagonal_trendlines"]],
  ["tema", "TEMA", [LINES.tema], ["tema"]],
  ["hrma", "HRMA", [LINES.hrma], ["hrma"]],
  ["smma", "SMMA", [LINES.smma], ["smma"]],
  ["keltner", "Keltner", [KELTNER[0], KELTNER[4]], ["keltner_channels"]],
  ["zigzag", "Zigzag", [COLORS.zigzag], ["zigzag"]],
  ["momentum", "Momentum", [MOMENTUM[1], MOMENTUM[4]], ["momentum_candles"]],
];

export const SERIES = [
  ...KELTNER.map((color, place) => ({
    // outlying bands must not flatten the candles
    overlay: "keltner", color, behind: true, options: { autoscaleInfoProvider: () => null }, value: (bar) => bar.bands?.[place],
  })),
  ...AVERAGES.map((name) => ({
    overlay: name, color: LINES[name], options: { lineWidth: name === "smma" ? 2 : 1 }, value: (bar) => bar[name], named: name.toUpperCase(),
  })),
];

/** The colours of a candle that shows its momentum; null where it has none. */
export function momentumColors({ momentum }, shown) {
  const color = shown.momentum && MOMENTUM[momentum];
  const edge = MOMENTUM[momentum < 3 ? 1 : 4];
  return color ? { color, borderColor: edge, wickColor: edge } : null;
}
