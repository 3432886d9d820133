{# In plpgsql, so that a connection keeps the plan: to plan sync_health takes a quarter of a second. #}
begin
    return (
        with

        tiers as (
            select listed.* from {{ all_rows_of(ref('tiers')) }} as listed where listed.tier = overview.tier
        ),

        visible_tables as (
            select health.*
            from {{ all_rows_of(ref('sync_health')) }} as health
            cross join tiers
            where
                (tiers.symbols = '*' or health.symbol = any(string_to_array(tiers.symbols, ' ')))
                and (tiers.timeframes = '*' or health.timeframe = any(string_to_array(tiers.timeframes, ' ')))
        ),

        symbols as (
            select
                visible_tables.symbol,
                bool_or(visible_tables.timeframe = 'D1') as sees_days,
                bool_or(visible_tables.timeframe = 'H1') as sees_hours,
                json_agg(
                    json_build_object(
                        'timeframe', visible_tables.timeframe,
                        'newest_bar', extract(epoch from visible_tables.newest_bar)::bigint,
                        'lag_seconds', extract(epoch from visible_tables.lag)::bigint,
                        'status', visible_tables.status,
                        'reason', visible_tables.reason
                    ) order by listed.place
                ) as timeframes
            from visible_tables
            inner join
                unnest(array['{{ var('timeframes') | join("', '") }}']) with ordinality as listed (timeframe, place)
                on visible_tables.timeframe = listed.timeframe
            group by visible_tables.symbol
        ),

        final as (
            select
                symbols.symbol,
                json_build_object(
                    'symbol', upper(symbols.symbol),
                    'close', days.closes[1],
                    'close_before', days.closes[2],
                    'hourly_closes', hours.closes,
                    'confluence_score', case when tiers.confluence then
                        {{ function('confluence') }}(symbols.symbol, now()) -> 'confluence_score'
                    end,
                    'timeframes', symbols.timeframes
                ) as answer
            from symbols
            cross join tiers
            cross join lateral (
                select array_agg(newest.close order by newest.timestamp desc) as closes
                from (
                    select candle.timestamp, candle.close
                    from {{ all_rows_of(ref('ohlc')) }} as candle
                    where candle.symbol = symbols.symbol and candle.timeframe = 'D1' and symbols.sees_days
                    order by candle.timestamp desc
                    limit 2
                ) as newest
            ) as days
            cross join lateral (
                select array_agg(newest.close order by newest.timestamp) as closes
                from (
                    select candle.timestamp, candle.close
                    from {{ all_rows_of(ref('ohlc')) }} as candle
                    where candle.symbol = symbols.symbol and candle.timeframe = 'H1' and symbols.sees_hours
                    order by candle.timestamp desc
                    limit 48
                ) as newest
            ) as hours
        )

        select
            json_build_object(
                'success', true,
                'tier', overview.tier,
                'time', extract(epoch from now())::bigint,
                'symbols', json_agg(final.answer order by final.symbol)
            )
        from final
        having count(*) > 0
    );
end
