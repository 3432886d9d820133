#!/bin/sh
# Write the secrets of compose.yaml into deploy/secrets/. What exists stays. The passwords of the warehouse are made
# here; keys of others are empty files, for you to fill in. For a Postgres of your own write its URIs there yourself.
set -eu
directory=${1:-$(dirname "$0")/secrets}
# the directory keeps others on this machine out; the containers' users have to read the files
mkdir -p "$directory"
chmod 700 "$directory"
umask 022
cd "$directory"

write() { [ -e "$1" ] || printf '%s\n' "$2" > "$1"; }
for name in postgres_password tradehouse_password api_password api_cookie_secret; do
    write "$name" "$(openssl rand -hex 24)"
done
write postgresql_uri "postgresql://tradehouse:$(cat tradehouse_password)@postgres:5432/tradehouse"
write api_postgresql_uri "postgresql://api:$(cat api_password)@postgres:5432/tradehouse"
for name in alert_urls bybit_api_key bybit_api_secret mt5_service_api_key upstox_access_token; do
    [ -e "$name" ] || : > "$name"
done
