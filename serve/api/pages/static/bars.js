// The bars of one chart: pages of answers put together, and the points that are drawn over them.

export const BANDS = [
  "ultra_extreme_upper", "extreme_upper", "upper_most", "upper_middle", "upper",
  "lower", "lower_middle", "lower_most", "extreme_lower", "ultra_extreme_lower",
];
export const AVERAGES = ["tema", "hrma", "smma"];

export class Bars {
  /** Ascending; each has time, open, high, low, close, tema, hrma, smma, bands (or null), momentum (type or null). */
  list = [];
  /** Points {time, price} of the chart by kind. */
  points = { fractals: null, zigzag: null, horizontal: null, diagonal: null };
  /** Which columns the tier does not see. */
  withheld = new Set();
  #byTime = new Map();

  /** Take in an answer of /api/indicators; `newest` says whether it reaches to the newest bar. */
  add({ data }, newest) {
    const momentum = new Map((data.momentum_candles ?? []).map((point) => [point.time, point.type]));
    data.ohlc.forEach((bar, place) => {
      const row = { ...bar, momentum: momentum.get(bar.time) ?? null, bands: null };
      for (const average of AVERAGES) row[average] = data[average]?.[place] ?? null;
      if (data.keltner_channels) row.bands = BANDS.map((band) => data.keltner_channels[band]?.[place] ?? null);
      this.#byTime.set(bar.time, row);
    });
    this.list = [...this.#byTime.values()].sort((one, other) => one.time - other.time);
    for (const [column, value] of Object.entries(data)) if (value === null) this.withheld.add(column);
    this.points.fractals = union(this.points.fractals, data.fractals);
    this.points.zigzag = union(this.points.zigzag, data.zigzag);
    if (newest) {
      this.points.horizontal = data.horizontal_trendlines;
      this.points.diagonal = data.diagonal_trendlines;
    }
  }

  /** Where a time lies among the bars, in bars; between two bars it is a fraction. Null before the first. */
  place(time) {
    const { list } = this;
    if (!list.length || time < list[0].time) return null;
    let low = 0, high = list.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (list[middle].time <= time) low = middle;
      else high = middle - 1;
    }
    const next = list[low + 1];
    return low + (next ? (time - list[low].time) / (next.time - list[low].time) : 0);
  }

  /** Fractals as [{kind: "peak" | "bottom", time, price}]. */
  get fractals() {
    return sides(this.points.fractals);
  }

  /** The corners of the zigzag, ascending. */
  get zigzag() {
    return sides(this.points.zigzag).sort((one, other) => one.time - other.time);
  }

  /** Trendlines as [{name, up, from, to}]; `to` is null where the line is horizontal. */
  get trendlines() {
    const lines = [];
    for (const [name, all] of Object.entries(this.points.horizontal ?? {})) {
      const [from] = timed(all);
      if (from) lines.push({ name, up: name.startsWith("bottom"), from, to: null });
    }
    for (const [name, all] of Object.entries(this.points.diagonal ?? {})) {
      const points = timed(all);
      if (points.length > 1) lines.push({ name, up: name.startsWith("asc"), from: points[0], to: points.at(-1) });
    }
    return lines;
  }
}

/** Points whose time is known; the others cannot be drawn. */
function timed(points) {
  const known = (Array.isArray(points) ? points : []).filter((point) => point.time != null && point.price != null);
  return known.sort((one, other) => one.time - other.time);
}

function sides(points) {
  return [
    ...timed(points?.peaks).map((point) => ({ kind: "peak", ...point })),
    ...timed(points?.bottoms).map((point) => ({ kind: "bottom", ...point })),
  ];
}

/** What is known from several pages. Of a time that two of them name, the later one in `more` counts. */
function union(known, more) {
  if (!known || !more) return known ?? more;
  const side = (name) => [...new Map([...timed(known[name]), ...timed(more[name])].map((at) => [at.time, at])).values()];
  return { peaks: side("peaks"), bottoms: side("bottoms") };
}
