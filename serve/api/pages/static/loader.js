// The bars of a chart: loads the newest ones, older ones as the view goes back, and what changes.

import { api, byId, showFailure, utc } from "./page.js";

const PAGE = 1000; // bars of a request
const container = byId("chart");
const message = byId("chart-message");

export class Loader {
  bars;
  #parts;
  #opened = new AbortController(); // of everything that belongs to the place shown
  #exhausted = false; // no older bars
  #loadingOlder = false;
  #stopWatching = () => {};

  /**
   * @param parts what differs from page to page:
   *   question(limit, before): path of the API, of the bars before a moment (ISO 8601) or the newest ones;
   *   empty(): what the bars are added to; chart(): where they are drawn;
   *   shown(answer): the bars have changed, by this answer where they are the newest; cleared(): there are none;
   *   failed(error, place): a failure stands in this place;
   *   watch(changed): calls `changed` when bars may have changed; returns the function that ends it.
   */
  constructor(parts) {
    this.#parts = parts;
    this.bars = parts.empty();
  }

  /** Is aborted when another place is opened. */
  get signal() {
    return this.#opened.signal;
  }

  /** Show the place anew. */
  async open() {
    this.#opened.abort();
    this.#stopWatching();
    this.#opened = new AbortController();
    const { signal } = this;
    this.bars = this.#parts.empty();
    this.#exhausted = this.#loadingOlder = false;
    container.removeAttribute("data-ready");
    container.setAttribute("aria-busy", "true");
    message.textContent = "";
    if (!(await this.#refresh(signal))) return;
    this.#stopWatching = this.#parts.watch(oneAtATime(() => this.#refresh(signal)));
  }

  /** Load the newest bars. Whether that went well, or is worth another attempt. */
  async #refresh(signal) {
    const { question, chart, cleared, failed } = this.#parts;
    try {
      const answer = await api(question(PAGE), signal);
      const first = !this.bars.list.length;
      this.bars.add(answer, true);
      if (first) this.#exhausted = answer.data.ohlc.length < PAGE;
      if (first) chart().open(this.bars);
      else chart().refresh();
      message.textContent = "";
      byId("updated").textContent = answer.stale ? "The warehouse is away: these bars are from before." : `Loaded ${utc(Date.now() / 1000)} UTC`;
      this.#show(answer);
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      const none = !this.bars.list.length;
      if (none) {
        chart().open(this.bars);
        container.dataset.bars = 0;
        cleared();
      }
      const place = none ? message : byId("updated");
      showFailure(place, error);
      failed?.(error, place);
      this.#settle();
      return ![400, 401, 403].includes(error.status);
    }
  }

  /** Load the bars before the oldest one, where there may be some. */
  async loadOlder() {
    if (this.#exhausted || this.#loadingOlder || !this.bars.list.length) return;
    this.#loadingOlder = true;
    const { signal } = this;
    try {
      const answer = await api(this.#parts.question(PAGE, new Date(this.bars.list[0].time * 1000).toISOString()), signal);
      this.bars.add(answer, false);
      this.#exhausted = answer.data.ohlc.length < PAGE;
      this.#parts.chart().refresh();
      this.#show(null);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#exhausted = error.status === 404;
      if (!this.#exhausted) {
        showFailure(byId("updated"), error);
        await new Promise((done) => setTimeout(done, Math.max(error.retryAfter, 5) * 1000));
      }
    } finally {
      if (!signal.aborted) this.#loadingOlder = false;
    }
  }

  #show(answer) {
    this.#parts.shown(answer);
    container.dataset.bars = this.bars.list.length;
    this.#settle();
  }

  #settle() {
    container.dataset.ready = "true";
    container.removeAttribute("aria-busy");
  }
}

/** A function that runs `task`, and once more after it where it was called meanwhile. */
function oneAtATime(task) {
  let running = false, again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    try {
      while (again) {
        again = false;
        await task();
      }
    } finally {
      running = false;
    }
  };
}
