{#
    Each candle is read once, however many instants it serves: at a step of five minutes, a D1 candle serves 288.
#}
declare
    question constant text := (
        select string_agg(
            format(
                $query$
                select unnest(served.instants) as at, candle_signals.trend, candle_signals.strength
                from (
                    select newest.timestamp, array_agg(instant.at) as instants
                    from instants as instant
                    cross join lateral (
                        select timestamp from %1$s where timestamp <= instant.at order by timestamp desc limit 1
                    ) as newest
                    group by newest.timestamp
                ) as served
                inner join %1$s as candle on served.timestamp = candle.timestamp
                cross join lateral {{ candle_signals_of('candle') }}
                $query$,
                candle_table.relation
            ),
            ' union all '
        )
        from {{ candle_tables_of('confluence_history.symbol') }}
    );
begin
    if question is not null then
        return query execute $query$
            with

            instants as (
                select instant at time zone 'UTC' as at
                from generate_series($1 at time zone 'UTC', $2 at time zone 'UTC', $3) as instant
            ),

            found as ($query$ || question || $query$)

            select
                instants.at,
                case when count(found.trend) > 0 then {{ function('confluence_score') }}(
                    count(*) filter (where found.trend = 'bullish'),
                    count(*) filter (where found.trend = 'bearish'),
                    sum(found.strength)
                ) end,
                (count(*) filter (where found.trend = 'bullish'))::integer,
                (count(*) filter (where found.trend = 'bearish'))::integer,
                (count(*) filter (where found.trend = 'neutral'))::integer
            from instants
            left join found on instants.at = found.at
            group by instants.at
            order by instants.at
        $query$
        using from_time, to_time, step;
    end if;
end
