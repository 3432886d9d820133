// What every page shares: who looks, the bar at the top, the theme, requests to the API, and how values are written.

/** Who looks at the page, as the server has it. `{}` where nobody is known. */
export const viewer = JSON.parse(document.body.dataset.viewer || "{}");

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; `text` is an attribute of its own. */
export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  if (text != null) made.textContent = text;
  made.append(...children.filter((child) => child != null));
  return made;
}

// --- requests ------------------------------------------------------------------------------

export class ApiFailure extends Error {
  constructor(status, message, retryAfter, choices = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter; // seconds, or 0
    this.choices = choices; // instruments that may be meant
  }
}

/** An answer of the API. One from before the warehouse went away has `stale`. Throws ApiFailure. */
export async function api(path, signal) {
  let response, answer;
  try {
    response = await fetch(path, { signal, headers: { Accept: "application/json" } });
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiFailure(0, "The server does not answer.", 5);
  }
  if (answer.success) return answer;
  const said = String(answer.error ?? "The request failed.");
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw new ApiFailure(response.status, said.charAt(0).toUpperCase() + said.slice(1) + ".", retryAfter, answer.choices);
}

/** Say in `place` what went wrong; who has to sign in gets a link. */
export function showFailure(place, error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof ApiFailure)) throw error;
  place.textContent = error.message;
  if (error.status === 401) {
    place.append(" ", element("a", { href: `/login?next=${encodeURIComponent(location.pathname)}`, text: "Sign in" }));
  }
}

// --- values --------------------------------------------------------------------------------

const pad = (number) => String(number).padStart(2, "0");

/** Unix seconds as `2026-01-05 10:05`. */
export function utc(seconds) {
  const date = new Date(seconds * 1000);
  const day = `${date.getUTCFullYear()}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
  return `${day} ${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`;
}

/** Seconds as `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
  return `${Math.floor(hours / 24)} d${hours % 24 ? ` ${hours % 24} h` : ""}`;
}

/** How many decimals these prices need, at most 8. */
export function decimals(prices) {
  const needed = prices.map((price) => String(price).split(".")[1]?.length ?? 0);
  return Math.min(Math.max(0, ...needed), 8);
}

export const signed = (value, digits) => (value > 0 ? "+" : "") + value.toFixed(digits).replace("-", "−");

// --- the bar at the top --------------------------------------------------------------------

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

/** Call `paint` whenever the theme changes. */
export function onTheme(paint) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  addEventListener("themechange", paint);
}

function nameTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", `Switch to the ${isDark() ? "light" : "dark"} theme`);
}

byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  dispatchEvent(new Event("themechange"));
});
onTheme(nameTheme);
nameTheme();

const PAGES = [
  ["/", "Overview", true],
  ["/chart", "Chart", true],
  ["/confluence", "Confluence", viewer.confluence],
  ["/market", "Market", viewer.market],
  ["/trades", "Trades", viewer.admin],
  ["/accounts", "Accounts", viewer.admin],
];
if (viewer.tier) {
  for (const [path, text, allowed] of PAGES) {
    if (!allowed) continue;
    const here = path === "/" ? location.pathname === "/" : location.pathname.startsWith(path);
    byId("nav").append(element("a", { href: path, text, "aria-current": here ? "page" : null }));
  }
  byId("tier").textContent = viewer.tier;
  byId("sign-in").hidden = viewer.signedIn;
  byId("sign-out").hidden = !viewer.signedIn;
}
byId("sign-in").hidden ||= location.pathname === "/login";
