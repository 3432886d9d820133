// Hears of changes: from the stream where the tier has it, else by asking again at the tier's interval.

import { viewer } from "./page.js";

const POLL_SECONDS = 30; // where the stream cannot be had

/** Call `changed` every so many seconds while the page can be seen. Returns the function that ends it. */
export function poll(seconds, changed, state) {
  state("polling", `Refreshed every ${seconds} s`);
  const timer = setInterval(() => document.hidden || changed(), seconds * 1000);
  return () => clearInterval(timer);
}

/**
 * Call `changed` whenever bars of the symbol and timeframe may have changed, and `state(name, text)` with what goes on.
 * Returns the function that ends it.
 *
 * A true candle changes with the finest bars, while its own table does not: so both timeframes are listened to.
 */
export function watch(symbol, timeframe, changed, state) {
  if (!viewer.stream) return poll(viewer.refreshSeconds || POLL_SECONDS, changed, state);
  let stopPolling = null;
  const timeframes = [...new Set([timeframe, viewer.timeframes[0]])];
  const source = new EventSource(`/api/stream?symbols=${symbol}&timeframes=${timeframes}`);
  source.addEventListener("open", () => {
    state("live", "Live");
    changed(); // the bars may have changed before the stream was open
  });
  source.addEventListener("changes", changed);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) stopPolling ??= poll(POLL_SECONDS, changed, state);
    else state("failed", "Connecting again …");
  });
  return () => {
    source.close();
    stopPolling?.();
  };
}
