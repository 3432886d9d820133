// The switches of what a chart draws, which the browser remembers.

import { byId, element } from "./page.js";

/**
 * Make a switch of each overlay [name, text, colours, …]. Returns which are on, by name: it follows the switches.
 * @param page what the browser remembers them under; @param off names of those that are off at first
 * @param changed called after a change
 */
export function makeSwitches(overlays, page, off, changed) {
  const shown = {};
  for (const [name, text, colors] of overlays) {
    const key = `${page}.${name}`;
    shown[name] = (localStorage.getItem(key) ?? (off.includes(name) ? "off" : "on")) !== "off";
    const box = element("input", { type: "checkbox", id: `show-${name}`, checked: shown[name] });
    box.addEventListener("change", () => {
      shown[name] = box.checked;
      localStorage.setItem(key, box.checked ? "on" : "off");
      changed();
    });
    byId("overlays").append(element("label", {}, box, element("span", {}, drawing(colors), text)));
  }
  return shown;
}

function drawing(colors) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  colors.forEach((color, index) => {
    const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const box = { x: (12 / colors.length) * index, y: 2, width: 12 / colors.length, height: 8, fill: color };
    for (const [key, value] of Object.entries(box)) part.setAttribute(key, value);
    svg.append(part);
  });
  return svg;
}
