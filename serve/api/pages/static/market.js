// The page /market: search instruments by name or symbol.

import { INDIA } from "./market_series.js";
import { api, byId, element, showFailure, utc } from "./page.js";

const MOST = 50;
const PAUSE = 250; // ms after the last key: requests are counted
const USUAL = "1d";

let asked = new AbortController();
let timer = null;

async function search() {
  clearTimeout(timer);
  asked.abort();
  asked = new AbortController();
  const text = byId("search").value.trim();
  history.replaceState(null, "", text ? `/market?search=${encodeURIComponent(text)}` : "/market");
  byId("fault").textContent = "";
  if (!text) return show(null);
  try {
    show((await api(`/api/market/instruments?limit=${MOST}&search=${encodeURIComponent(text)}`, asked.signal)).instruments);
  } catch (error) {
    if (error.name !== "AbortError") show(null);
    showFailure(byId("fault"), error);
  }
}

function show(instruments) {
  byId("found").replaceChildren(...(instruments ?? []).map(row));
  const count = instruments?.length;
  byId("count").textContent = !instruments ? "" : !count ? "No instrument has this in its symbol or name."
    : count === MOST ? `The first ${MOST}; type more to find others.` : `${count} ${count === 1 ? "instrument" : "instruments"}`;
  byId("main").dataset.ready = "true";
}

function row({ instrument_id, trading_symbol, name, segment, instrument_type, is_listed, timeframes, newest_bar }) {
  const timeframe = timeframes.includes(USUAL) || !timeframes.length ? USUAL : timeframes.at(-1);
  const bars = timeframes.length ? `${timeframes.join(", ")}, newest ${utc(newest_bar + INDIA).slice(0, 10)}` : "no bars yet";
  return element(
    "li",
    { "data-testid": "instrument" },
    element("a", { href: `/market/${instrument_id}/${timeframe}` }, element("b", { text: trading_symbol }), " ", element("span", { text: name ?? "" })),
    element("span", { class: "muted", text: [segment, instrument_type, is_listed ? null : "no longer listed", bars].filter(Boolean).join(" · ") }),
  );
}

byId("search").value = new URLSearchParams(location.search).get("search") ?? "";
byId("search").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, PAUSE);
});
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
search();
