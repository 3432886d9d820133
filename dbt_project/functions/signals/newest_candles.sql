{#
    The query is text, because its tables depend on the symbol: a view over the tables of all symbols would be planned
    whole for each question, and would be dropped with any of its tables. It is one statement, so one snapshot.
#}
declare
    question constant text := (
        select string_agg(
            format(
                $query$(
                select
                    %L, timestamp, close, tema, hrma, smma, momentum_candles, keltner_channels, zigzag,
                    jsonb_build_object(
                        {% for column in var('candle_columns') %}
                        '{{ column.name }}', {{ column.name }}{{ ',' if not loop.last }}
                        {% endfor %}
                    )
                from %s
                where timestamp <= $1
                order by timestamp desc
                limit 1
                )$query$,
                candle_table.timeframe, candle_table.relation
            ),
            ' union all '
            order by candle_table.place
        )
        from {{ candle_tables_of('newest_candles.symbol') }}
    );
begin
    if question is not null then
        return query execute question using at;
    end if;
end
