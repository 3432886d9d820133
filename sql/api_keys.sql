-- Keys of the HTTP API. A key itself is never stored: only its SHA-256, which says nothing about 256 random bits.
-- `tradehouse api-keys` writes the table, the API reads it.

create table if not exists ops.api_keys (
    key_hash bytea primary key check (octet_length(key_hash) = 32),
    name text not null,
    tier text not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
-- A revoked key gives its name free.
create unique index if not exists api_keys_name on ops.api_keys (name) where revoked_at is null;

-- Note that a key was used, to the minute, so that a busy key costs one write a minute. It is all that the API's role
-- can write: the function runs with the rights of its owner.
create or replace function ops.touch_api_key(key_hash bytea) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update ops.api_keys
    set last_used_at = date_trunc('minute', clock_timestamp())
    where
        api_keys.key_hash = touch_api_key.key_hash
        and coalesce(api_keys.last_used_at, '-infinity') < date_trunc('minute', clock_timestamp())
$$;
revoke execute on function ops.touch_api_key(bytea) from public;

-- If the role was made before the function. If it was made after, roles.sql grants the same.
do $$
begin
    if to_regrole('tradehouse_api') is not null then
        grant execute on function ops.touch_api_key(bytea) to tradehouse_api;
    end if;
end
$$;
