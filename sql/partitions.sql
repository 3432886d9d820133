-- Monthly partitions of a table that is partitioned by range of a timestamptz, made ahead of the rows. The partition of
-- a month is named <table>_YYYY_MM and reaches from its first moment to that of the next month, in UTC.

-- Make the partitions of all months from `first` to `last` that the table lacks; return how many were made. NULL for
-- either makes none. A partition is made on its own and then attached, which waits for no reader of the table.
create or replace function ops.make_month_partitions(parent regclass, first date, last date) returns integer
language plpgsql set timezone = 'UTC'
as $$
declare
    place record;
    partition text;
    month date := date_trunc('month', first);
    made integer := 0;
begin
    select nspname as schema, relname as name into place
    from pg_partitioned_table
    inner join pg_class on pg_class.oid = partrelid
    inner join pg_namespace on pg_namespace.oid = relnamespace
    where partrelid = parent and partstrat = 'r';
    if not found then
        raise exception '% is not partitioned by range', parent using errcode = 'wrong_object_type';
    end if;
    while month <= last loop
        partition := format('%I.%I', place.schema, place.name || to_char(month, '_YYYY_MM'));
        if to_regclass(partition) is null then
            -- two callers at once take turns
            perform pg_advisory_xact_lock(hashtextextended('ops.make_month_partitions ' || parent, 0));
        end if;
        if to_regclass(partition) is null then
            execute format('create table %s (like %s including defaults including constraints)', partition, parent);
            execute format(
                'alter table %s attach partition %s for values from (%L) to (%L)',
                parent, partition, month::timestamptz, (month + interval '1 month')::timestamptz
            );
            made := made + 1;
        end if;
        month := month + interval '1 month';
    end loop;
    return made;
end
$$;
