{% set columns = [
    'fractals', 'horizontal_trendlines', 'diagonal_trendlines', 'momentum_candles', 'keltner_channels',
    'tema', 'hrma', 'smma', 'zigzag'
] %}
{% set has_volume = 'volume' in var('candle_columns') | map(attribute='name') %}
declare
    sampled constant regclass := (
        select candle_table.relation
        from {{ candle_tables_of('newest_bars.symbol') }}
            and candle_table.timeframe = newest_bars.timeframe
    );
begin
    if sampled is null then
        return;
    elsif bars = 'resampled' then
        -- the indicators are those of the sampled candle of the same time
        return query execute format(
            $query$
            select
                ohlc.timestamp, ohlc.open, ohlc.high, ohlc.low, ohlc.close, null::double precision,
                {% for column in columns %}
                candle.{{ column }},
                {% endfor %}
                (select max(synced_at) from {{ target.schema }}.ohlc where symbol = $1 and timeframe = $2)
            from (
                select timestamp, open, high, low, close
                from {{ target.schema }}.ohlc
                where symbol = $1 and timeframe = $2 and timestamp < coalesce($3, 'infinity')
                order by timestamp desc
                limit $4
            ) as ohlc
            left join %s as candle on ohlc.timestamp = candle.timestamp
            order by ohlc.timestamp
            $query$,
            sampled
        )
        using symbol, timeframe, before, row_limit;
    else
        return query execute format(
            $query$
            select *
            from (
                select
                    timestamp, open, high, low, close, {{ 'volume' if has_volume else 'null' }}::double precision,
                    {% for column in columns %}
                    {{ column }},
                    {% endfor %}
                    (select max(synced_at) from %1$s)
                from %1$s
                where timestamp < coalesce($1, 'infinity')
                order by timestamp desc
                limit $2
            ) as candle
            order by timestamp
            $query$,
            sampled
        )
        using before, row_limit;
    end if;
end
