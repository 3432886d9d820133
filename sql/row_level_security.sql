-- Row level security by account: each customer's session sees its own rows of the schema accounts. Repeatable; whoever owns
-- the tables runs it, after the first sync:
--
--     psql "$ADMIN_URI" -v ON_ERROR_STOP=1 -v customers=customers -v staff=tradehouse_accounts_reader \
--         -f sql/row_level_security.sql
--
-- `customers` is the role under which customers' applications connect, `staff` one that sees all rows. An application says
-- whose rows it wants, for one transaction:
--
--     begin; set local tradehouse.account = '1001'; select * from accounts.trades; commit;
--
-- Whoever can run SQL of their own can set that variable. So let the application set it, or write policies of your own that
-- compare with current_user where each customer has a login.
--
-- The rules are kept as a function. Builds call it for each table they make (the variable row_level_security of
-- dbt_project.yml), so that a table that is made anew has its policies from the start. To be rid of all this:
-- drop function accounts.protect(text), and disable row level security on the tables.
select set_config('tradehouse.customers', :'customers', false), set_config('tradehouse.staff', :'staff', false);

do $$
begin
    execute format(
        $function$
        create or replace function accounts.protect(relation text) returns void
        language plpgsql
        as $body$
        begin
            if relation = 'accounts.stale_accounts' then  -- a view of these tables, for staff
                if current_setting('server_version_num')::integer >= 150000 then
                    alter view accounts.stale_accounts set (security_invoker = true);
                end if;
                return;
            end if;
            if to_regclass(relation) is null or relation not in (
                'accounts.trading_accounts', 'accounts.trades', 'accounts.deals', 'accounts.balance_operations',
                'accounts.performance', 'accounts.equity'
            )
                or exists (select from pg_policies where format('%%I.%%I', schemaname, tablename)::regclass
                    = relation::regclass and policyname = 'own_account') then
                return;
            end if;
            execute format('alter table %%s enable row level security', relation::regclass);
            execute format(
                'create policy own_account on %%s for select to %1$I'
                ' using (account_id = current_setting(''tradehouse.account'', true))', relation::regclass
            );
            execute format('create policy all_accounts on %%s for select to %2$I using (true)', relation::regclass);
            execute format('grant select on %%s to %1$I', relation::regclass);
        end
        $body$
        $function$,
        current_setting('tradehouse.customers'), current_setting('tradehouse.staff')
    );
    execute format('grant usage on schema accounts to %I', current_setting('tradehouse.customers'));
    perform accounts.protect('accounts.' || name)
    from unnest(array[
        'trading_accounts', 'trades', 'deals', 'balance_operations', 'performance', 'equity', 'stale_accounts'
    ]) as name;
end
$$;
