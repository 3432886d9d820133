#!/bin/sh
# Run once by the postgres container of compose.yaml, on an empty data directory: the roles, the login of the
# pipeline, and that of the HTTP API where API_PASSWORD is set. ADMIN_URI and ROLES_SQL are for running it elsewhere; the container's defaults are its own.
set -eu
admin=${ADMIN_URI:-"postgresql:///${POSTGRES_DB:-tradehouse}?user=${POSTGRES_USER:-postgres}"}
roles=${ROLES_SQL:-/tradehouse/roles.sql}

psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$roles"
# \getenv keeps the password out of the process list
psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
\getenv password TRADEHOUSE_PASSWORD
create role tradehouse login password :'password';
grant tradehouse_loader, tradehouse_transformer to tradehouse;
\getenv api_password API_PASSWORD
\if :{?api_password}
create role api login password :'api_password';
grant tradehouse_api to api;
\endif
SQL
psql "$admin" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file "$roles"
