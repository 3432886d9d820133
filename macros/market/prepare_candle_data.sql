{#
    Hook of candle_data: make the partitions that the new replies need and those of the next months, and set the triggers
    that keep market.coverage. The range is read first, since a partition cannot be attached to a table that the same
    query reads.
#}
{% macro prepare_candle_data(windows, months_ahead=2) %}
do $prepare_candle_data$
declare
    first date;
    last date;
    partition regclass;
begin
    select min(first_at at time zone 'UTC'), greatest(max(last_at at time zone 'UTC'), now())
    into first, last
    from {{ windows.render() }}
    where extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this.render() }});
    perform ops.make_month_partitions(
        '{{ this.render() }}', coalesce(first, last), (last + interval '{{ months_ahead }} months')::date
    );
    if not exists (select from pg_trigger where tgrelid = '{{ this.render() }}'::regclass and tgname = 'coverage_inserted') then
        create trigger coverage_inserted after insert on {{ this.render() }}
        referencing new table as touched_rows for each statement execute function market.keep_coverage();
        create trigger coverage_updated after update on {{ this.render() }}
        referencing new table as touched_rows for each statement execute function market.keep_coverage();
        create trigger coverage_deleted after delete on {{ this.render() }}
        referencing old table as touched_rows for each statement execute function market.keep_coverage();
        create trigger coverage_truncated after truncate on {{ this.render() }}
        for each statement execute function market.keep_coverage();
    end if;
    for partition in
        select inhrelid::regclass
        from pg_inherits
        where inhparent = '{{ this.render() }}'::regclass
            and not exists (select from pg_trigger where tgrelid = inhrelid and tgname = 'coverage_deleted')
    loop
        execute format(
            'create trigger coverage_deleted after delete on %1$s referencing old table as touched_rows'
            ' for each statement execute function market.keep_coverage();'
            ' create trigger coverage_truncated after truncate on %1$s'
            ' for each statement execute function market.keep_coverage(%2$L)',
            partition, right(partition::text, 7)
        );
    end loop;
end
$prepare_candle_data$
{% endmacro %}
