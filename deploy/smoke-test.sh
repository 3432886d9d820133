#!/bin/sh
# Ask every endpoint of a running HTTP API once, and say what each answered. Ends with 1 if one of them failed.
#
#     API_KEY=… deploy/smoke-test.sh [http://127.0.0.1:8000]
#
# API_KEY is a key of the tier ADMIN: without it, endpoints of other tiers have to refuse, and that is all that is tried.
# TRADES=no and ACCOUNTS=no where the warehouse has no Bybit trades or no accounts.
set -eu
address=${1:-http://127.0.0.1:8000}
failed=0

# ask STATUS PATH: by curl's config on stdin, which keeps the key out of the process list
ask() {
    wanted=$1
    if [ "$wanted" = keyed ]; then
        wanted=$([ -n "${API_KEY:-}" ] && echo 200 || echo 403)
    fi
    status=$(
        {
            echo "url = \"$address$2\""
            if [ -n "${API_KEY:-}" ]; then echo "header = \"X-API-Key: $API_KEY\""; fi
        } | curl --silent --max-time "${3:-15}" --output /dev/null --write-out '%{http_code}' --config - || true
    )
    if [ "$status" = "$wanted" ]; then
        echo "ok      $status $2"
    else
        echo "FAILED  $status (expected $wanted) $2"
        failed=$((failed + 1))
    fi
}

ask 200 /health
ask 200 /api/health/postgresql
ask 200 /api/health/redis
ask 200 /api/health/sqlite
ask 200 /api/health/sync
ask 200 /api/indicators/health
ask 200 /api/symbols
ask 200 /api/timeframes
ask 200 '/api/indicators/EURUSD/H1?limit=100'
ask 200 '/api/indicators/EURUSD/H1?limit=100&bars=resampled'
ask 400 /api/indicators/NOTHING/H1
now=$(date -u +%s)
ask keyed /api/confluence/EURUSD
ask keyed "/api/confluence/EURUSD/compare?timestamp1=$((now - 3600))&timestamp2=$now"
ask keyed "/api/confluence/EURUSD/history?from=$((now - 86400))&to=$now&step=H1"
# a stream does not end: its head counts, and the rest is cut off
ask keyed '/api/stream?symbols=EURUSD&timeframes=H1' 2
ask keyed /api/admin/sync/status
ask keyed /api/admin/tables/stats
if [ "${TRADES:-yes}" = yes ]; then
    ask keyed /api/trades/summary
    ask keyed '/api/trades/completed?limit=10'
    ask keyed /api/trades/equity-curve
    ask keyed /api/trades/pnl-by-time
    ask keyed /api/trades/exit-reasons
    ask keyed /api/trades/open-lots
fi
if [ "${ACCOUNTS:-yes}" = yes ]; then
    ask keyed /api/accounts
fi
[ "$failed" = 0 ] || { echo "$failed endpoints failed" >&2; exit 1; }
