-- Least-privilege roles: who may load, transform, read, and serve the API. Repeatable; a superuser or the owner of
-- the database (with CREATEROLE) runs it, before the first sync:
--
--     psql "$ADMIN_URI" -v ON_ERROR_STOP=1 -f sql/roles.sql
--     psql "$ADMIN_URI" -c "create role tradehouse login password '…'" \
--         -c "grant tradehouse_loader, tradehouse_transformer to tradehouse"
--     psql "$ADMIN_URI" -v ON_ERROR_STOP=1 -f sql/roles.sql    # once more, now that the login is known
--     psql "$ADMIN_URI" -c "create role charts login password '…'" -c "grant tradehouse_reader to charts"
--     psql "$ADMIN_URI" -c "create role api login password '…'" -c "grant tradehouse_api to api"
--
-- tradehouse_loader       owns the schemas staging, ops and refresh, makes and fills the tables in them
-- tradehouse_transformer  reads staging and ops, makes views in them, makes tables and views in public, trading,
--                         market and accounts, and functions in market, signals, api and refresh
-- tradehouse_reader       reads what the pipeline makes in public, trading, market, signals and api, now and later, and
--                         nothing else
-- tradehouse_accounts_reader   the same of accounts, which are customers', and nothing else
-- tradehouse_api          what both readers read, and ops; it writes nothing but when a key of the API was last used
--
-- The pipeline is one login with the first two roles. It owns what it makes, and default privileges are set per owner.
-- So run this file a second time after creating the login, and again for each further pipeline login. A table that dbt
-- drops and makes again is then readable at once.

do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'tradehouse_loader', 'tradehouse_transformer', 'tradehouse_reader', 'tradehouse_accounts_reader',
        'tradehouse_api'
    ] loop
        -- roles belong to the whole server, so another database may already have created them
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I nologin', wanted);
        end if;
        execute format('grant connect on database %I to %I', current_database(), wanted);
    end loop;
    -- Landing and the comparison of increments use temporary tables. Readers write nothing, not even those; only what
    -- everyone may do cannot be taken from them alone.
    execute format('revoke temporary on database %I from public', current_database());
    execute format(
        'grant temporary on database %I to tradehouse_loader, tradehouse_transformer', current_database()
    );
    -- the same with large objects, which any login can make
    if (select rolsuper from pg_roles where rolname = current_user) then
        revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public;
    else
        raise notice 'any login can make large objects in this database; run this file as a superuser to end that';
    end if;
    -- not twice: another grantor would make it a second membership
    foreach wanted in array array['tradehouse_reader', 'tradehouse_accounts_reader'] loop
        if not pg_has_role('tradehouse_api', wanted, 'member') then
            execute format('grant %I to tradehouse_api', wanted);
        end if;
    end loop;
end
$$;

-- In Postgres 14 everyone may create tables in public, even the reader. Later versions do not allow it.
revoke create on schema public from public;
grant usage on schema public to tradehouse_reader;
grant usage, create on schema public to tradehouse_transformer;

do $$
declare
    -- logins that write; a superuser counts as a member of every role and needs none of this
    pipelines constant text[] := array(
        select rolname::text from pg_roles
        where rolcanlogin and not rolsuper and pg_has_role(oid, 'tradehouse_transformer', 'usage')
    );
    -- Only a member of a role may transfer ownership to it or set its default privileges. An owner who is not a
    -- superuser becomes a member for this transaction.
    joined constant text[] := array(
        select role from unnest(pipelines || 'tradehouse_loader'::text) as role
        where not pg_has_role(role, 'usage')
    );
    item text;
    relation regclass;
    procedure regprocedure;
    reader text;
begin
    foreach item in array joined loop
        execute format('grant %I to %I', item, current_user);
    end loop;

    foreach item in array array['staging', 'ops', 'trading', 'accounts', 'market', 'signals', 'api', 'refresh'] loop
        if to_regnamespace(item) is null then
            execute format('create schema %I', item);
        end if;
        -- the pipeline stores its version as a comment on the schema, and only the owner may write that
        execute format('alter schema %I owner to tradehouse_loader', item);
        execute format('grant usage, create on schema %I to tradehouse_transformer', item);
    end loop;
    grant usage on schema trading, market, signals, api to tradehouse_reader;
    grant usage on schema accounts to tradehouse_accounts_reader;
    -- Views read tables as their owner, but call functions as whoever asks: staging's, to read JSON. No table of it.
    grant usage on schema ops, staging to tradehouse_api;

    foreach item in array pipelines loop
        execute format(
            'alter default privileges for role %I in schema accounts'
            ' grant select on tables to tradehouse_accounts_reader',
            item
        );
        execute format(
            'alter default privileges for role %I in schema public, trading, market, signals, api'
            ' grant select on tables to tradehouse_reader',
            item
        );
        execute format(
            'alter default privileges for role %I in schema staging, ops'
            ' grant select on tables to tradehouse_transformer',
            item
        );
        execute format(
            'alter default privileges for role %I in schema ops grant select on tables to tradehouse_api', item
        );
        execute format(
            'alter default privileges for role %I in schema ops grant execute on functions to tradehouse_transformer',
            item
        );
        raise notice 'login % loads and transforms, for tradehouse_reader and tradehouse_accounts_reader', item;
    end loop;

    -- Existing tables, but only those that the pipeline owns: grants on others' tables in public do not change.
    for relation, reader in
        select
            pg_class.oid,
            case relnamespace
                when to_regnamespace('accounts') then 'tradehouse_accounts_reader'
                else 'tradehouse_reader'
            end
        from pg_class
        where relnamespace in (
                'public'::regnamespace, to_regnamespace('trading'), to_regnamespace('market'),
                to_regnamespace('signals'), to_regnamespace('api'), to_regnamespace('accounts')
            )
            and relkind in ('r', 'p', 'v', 'm')
            and pg_get_userbyid(relowner)::text = any(pipelines)
    loop
        execute format('grant select on %s to %I', relation, reader);
    end loop;
    for relation in
        select pg_class.oid from pg_class
        where relnamespace in (to_regnamespace('staging'), to_regnamespace('ops')) and relkind in ('r', 'p', 'v', 'm')
            and pg_get_userbyid(relowner)::text = any(pipelines)
    loop
        execute format('grant select on %s to tradehouse_transformer', relation);
    end loop;
    for relation in
        select pg_class.oid from pg_class
        where relnamespace = to_regnamespace('ops') and relkind in ('r', 'p', 'v', 'm')
            and pg_get_userbyid(relowner)::text = any(pipelines)
    loop
        execute format('grant select on %s to tradehouse_api', relation);
    end loop;
    for procedure in
        select pg_proc.oid from pg_proc
        where pronamespace = to_regnamespace('ops') and pg_get_userbyid(proowner)::text = any(pipelines)
    loop
        execute format('grant execute on function %s to tradehouse_transformer', procedure);
        if procedure = to_regprocedure('ops.touch_api_key(bytea)') then
            execute format('grant execute on function %s to tradehouse_api', procedure);
        end if;
    end loop;

    foreach item in array joined loop
        execute format('revoke %I from %I', item, current_user);
    end loop;
end
$$;
