// A line of values without axes, as an SVG picture.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 110, HEIGHT = 26, MARGIN = 2;

export function sparkline(values) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("aria-hidden", "true");
  if (values.length < 2) return svg;
  const low = Math.min(...values), range = Math.max(...values) - low || 1;
  const points = values.map((value, place) => [
    MARGIN + (place / (values.length - 1)) * (WIDTH - 2 * MARGIN),
    HEIGHT - MARGIN - ((value - low) / range) * (HEIGHT - 2 * MARGIN),
  ]);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map((point) => point.map((part) => part.toFixed(1)).join(",")).join(" "));
  svg.append(line);
  return svg;
}
