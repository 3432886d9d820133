#!/bin/sh
# Move from an older system to this one, as far as a machine can do it: check, start, try every endpoint, stop the old.
# docs/operations.md has the checklist around it. As the user who may start services, with the settings exported:
#
#     set -a; . /etc/tradehouse/environment; set +a
#     deploy/cutover.sh --check                  # the checks alone; nothing is started or stopped
#     OLD_SERVICES='old-sync old-api' API_KEY=… deploy/cutover.sh
#
# NEW_SERVICES  units to start (tradehouse@mt5 tradehouse-serve)      OLD_SERVICES  units to stop; none if empty
# API_ADDRESS   of the new API (http://127.0.0.1:8000)                API_KEY       of the tier ADMIN, for the smoke test
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tradehouse=${TRADEHOUSE:-"$here/../.venv/bin/tradehouse"}
new=${NEW_SERVICES:-tradehouse@mt5 tradehouse-serve}
address=${API_ADDRESS:-http://127.0.0.1:8000}

step() { echo "== $*"; }
fail() { echo "stopped: $*" >&2; exit 1; }

step 'the settings, the file and the warehouse'
"$tradehouse" mt5 test || fail 'the SQLite file cannot be read'
"$tradehouse" warehouse init || fail 'the warehouse cannot be used'

step 'one run with every test'
"$tradehouse" sync --test || fail 'the run or a test failed; nothing was started'
step 'all tables are current'
"$tradehouse" status || fail 'something is late; nothing was started'
if [ "${1:-}" = --check ]; then
    echo 'checked; nothing was started or stopped'
    exit 0
fi

step "start $new"
# shellcheck disable=SC2086 # several names
systemctl start $new
attempts=0
until curl --silent --fail --output /dev/null --max-time 5 "$address/api/health/postgresql"; do
    attempts=$((attempts + 1))
    [ "$attempts" -lt 60 ] || fail "$address does not answer; go back with deploy/rollback.sh"
    sleep 1
done
step 'every endpoint'
"$here/smoke-test.sh" "$address" || fail 'an endpoint failed; go back with deploy/rollback.sh'

if [ -n "${OLD_SERVICES:-}" ]; then
    step "stop $OLD_SERVICES"
    # shellcheck disable=SC2086
    systemctl stop $OLD_SERVICES
fi
step 'done: now watch the triggers in docs/operations.md for an hour'
