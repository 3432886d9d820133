// The page /accounts, for admin keys.

import { api, byId, showFailure, utc } from "./page.js";
import { fill, number } from "./tables.js";

const AGAIN_SECONDS = 60;

const when = (text) => (text ? utc(Date.parse(text) / 1000) : "never");
const money = (head, name) => ({ head, of: (row) => number(row[name]), number: true });
const ACCOUNTS = [
  { head: "Account", of: (row) => row.account_id },
  money("Balance", "balance"),
  money("Equity", "equity"),
  money("Margin", "margin"),
  money("Free margin", "free_margin"),
  { head: "Currency", of: (row) => row.currency },
  { head: "Last success", of: (row) => when(row.last_successful_sync_at) },
  { head: "Success, 24 h", of: (row) => (row.success_rate_pct == null ? "–" : `${number(row.success_rate_pct, 1)} %`), number: true },
  { head: "Failures in a row", of: (row) => row.sync_failure_count, number: true, sign: (row) => -row.sync_failure_count },
  { head: "Last error", of: (row) => row.last_connection_error },
];
const POSITIONS = [
  { head: "Account", of: (row) => row.account_id },
  { head: "Ticket", of: (row) => row.ticket },
  { head: "Symbol", of: (row) => row.symbol },
  { head: "Type", of: (row) => row.type },
  { head: "Volume", of: (row) => number(row.volume), number: true },
  { head: "Opened", of: (row) => when(row.open_time) },
  { head: "Open price", of: (row) => number(row.open_price, 6), number: true },
  { head: "Price", of: (row) => number(row.current_price, 6), number: true },
  { head: "Profit", of: (row) => number(row.profit), number: true, sign: (row) => row.profit },
  { head: "State", of: (row) => row.status },
];
const FAILURES = [
  { head: "Account", of: (row) => row.account_id },
  { head: "Failed", of: (row) => row.failed_syncs, number: true },
  { head: "Partial", of: (row) => row.partial_syncs, number: true },
  { head: "Last", of: (row) => when(row.last_failure_at) },
  { head: "Error", of: (row) => row.last_error },
];

async function refresh() {
  try {
    const { accounts, failures } = await api("/api/accounts");
    fill(byId("accounts"), ACCOUNTS, accounts, "No account has been read yet.");
    fill(byId("positions"), POSITIONS, accounts.flatMap(({ positions }) => positions), "No position is open.");
    fill(byId("failures"), FAILURES, failures);
    byId("fault").textContent = "";
  } catch (error) {
    showFailure(byId("fault"), error);
  }
  byId("main").dataset.ready = "true";
}

refresh();
setInterval(() => document.hidden || refresh(), AGAIN_SECONDS * 1000);
