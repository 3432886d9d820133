#!/bin/sh
# Run once by the postgres container of compose.yaml, on an empty data directory: the roles, the login of the
# pipeline, and that of the HTTP API where it has a password. The variables are for running it elsewhere.
set -eu
admin=${ADMIN_URI:-"postgresql:///${POSTGRES_DB:-tradehouse}?user=${POSTGRES_USER:-postgres}"}
roles=${ROLES_SQL:-/tradehouse/roles.sql}
export TRADEHOUSE_PASSWORD_FILE="${TRADEHOUSE_PASSWORD_FILE:-/run/secrets/tradehouse_password}"
export API_PASSWORD_FILE="${API_PASSWORD_FILE:-/run/secrets/api_password}"
[ -s "$TRADEHOUSE_PASSWORD_FILE" ] || { echo "$TRADEHOUSE_PASSWORD_FILE is missing or empty" >&2; exit 1; }

psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$roles"
# read by psql itself, which keeps the passwords out of the process list
psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\set password `cat "$TRADEHOUSE_PASSWORD_FILE"`
create role tradehouse login password :'password';
grant tradehouse_loader, tradehouse_transformer to tradehouse;
\set has_api `test -s "$API_PASSWORD_FILE" && echo true || echo false`
\if :has_api
\set api_password `cat "$API_PASSWORD_FILE"`
create role api login password :'api_password';
grant tradehouse_api to api;
\endif
SQL
psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$roles"
