// What is drawn over the candles point by point: fractals, zigzag and trendlines, as one primitive of the chart library.
// Their times come from M5 bars and may lie between two bars of the chart, so they cannot be a series.

export const COLORS = { peak: "#f23645", bottom: "#00c853", zigzag: "#ffa726" };

export class Drawing {
  /** @param bars the Bars; @param shown which overlays are on */
  constructor(bars, shown) {
    this.bars = bars;
    this.shown = shown;
  }

  attached({ chart, series, requestUpdate }) {
    Object.assign(this, { chart, series, requestUpdate });
  }

  paneViews() {
    const draw = (target) => target.useMediaCoordinateSpace(({ context, mediaSize }) => this.#draw(context, mediaSize));
    return [{ zOrder: () => "top", renderer: () => ({ draw }) }];
  }

  #at({ time, price }) {
    const place = this.bars.place(time);
    const x = place === null ? null : this.#x(place);
    const y = this.series.priceToCoordinate(price);
    return x === null || y === null ? null : { x, y };
  }

  #x(place) {
    const scale = this.chart.timeScale();
    const before = Math.floor(place); // the library knows whole bars only
    const x = scale.logicalToCoordinate(before);
    return x === null || before === place ? x : x + (place - before) * scale.options().barSpacing;
  }

  #draw(context, { width }) {
    context.lineJoin = "round";
    if (this.shown.trendlines) for (const line of this.bars.trendlines) this.#trendline(context, line, width);
    if (this.shown.zigzag) this.#zigzag(context);
    if (this.shown.fractals) for (const point of this.bars.fractals) this.#fractal(context, point);
  }

  #trendline(context, { up, from, to }, width) {
    const start = this.#at(from);
    const end = to ? this.#at(to) : start && { x: width, y: start.y };
    if (!start || !end) return;
    context.strokeStyle = up ? COLORS.bottom : COLORS.peak;
    context.lineWidth = 1.5;
    context.setLineDash(to ? [] : [6, 4]);
    stroke(context, [start, end]);
    if (to && end.x > start.x) {
      context.setLineDash([2, 4]); // carried on to the right edge
      stroke(context, [end, { x: width, y: end.y + ((end.y - start.y) / (end.x - start.x)) * (width - end.x) }]);
    }
    context.setLineDash([]);
  }

  #zigzag(context) {
    context.strokeStyle = COLORS.zigzag;
    context.lineWidth = 2;
    stroke(context, this.bars.zigzag.map((point) => this.#at(point)).filter(Boolean));
  }

  #fractal(context, point) {
    const at = this.#at(point);
    if (!at) return;
    const side = point.kind === "peak" ? -1 : 1;
    context.fillStyle = COLORS[point.kind];
    context.beginPath();
    context.moveTo(at.x, at.y + side * 4);
    context.lineTo(at.x - 5, at.y + side * 12);
    context.lineTo(at.x + 5, at.y + side * 12);
    context.fill();
  }
}

function stroke(context, points) {
  context.beginPath();
  points.forEach(({ x, y }, place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}
