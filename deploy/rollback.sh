#!/bin/sh
# Go back to the older system after deploy/cutover.sh: start it, see that it answers, stop this one. The warehouse and
# the SQLite file stay as they are; both systems only read the file.
#
#     OLD_SERVICES='old-sync old-api' OLD_HEALTH=http://127.0.0.1:9000/health deploy/rollback.sh
#
# NEW_SERVICES  units to stop (tradehouse-serve tradehouse@mt5)       OLD_SERVICES  units to start; required
# OLD_HEALTH    an address of the old system that answers 200 when it is well; not asked if empty
set -eu
new=${NEW_SERVICES:-tradehouse-serve tradehouse@mt5}
: "${OLD_SERVICES:?names the units to go back to}"

echo "== start $OLD_SERVICES"
# shellcheck disable=SC2086 # several names
systemctl start $OLD_SERVICES
if [ -n "${OLD_HEALTH:-}" ]; then
    attempts=0
    until curl --silent --fail --output /dev/null --max-time 5 "$OLD_HEALTH"; do
        attempts=$((attempts + 1))
        [ "$attempts" -lt 60 ] || { echo "stopped: $OLD_HEALTH does not answer; $new go on" >&2; exit 1; }
        sleep 1
    done
fi
echo "== stop $new"
# shellcheck disable=SC2086
systemctl stop $new
echo '== done'
