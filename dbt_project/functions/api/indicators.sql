{#
    In plpgsql, so that a connection keeps the plan: to plan this takes as long as to run it. Only newest_bars, whose
    tables depend on the symbol, plans at each call. It returns the oldest bar first, so the lists need no sorting.
#}
{% set columns = var('candle_columns') | rejectattr('kind', 'equalto', 'price') | map(attribute='name') | list %}
declare
    seen constant text[] := (
        select
            case tiers.columns
                when '*' then array['{{ columns | join("', '") }}']
                else string_to_array(tiers.columns, ' ')
            end
        from {{ ref('tiers') }} as tiers
        where tiers.tier = indicators.tier
    );
    {% if counts_bars() %}
    times constant timestamptz[] := array(
        select bar.timestamp
        from {{ function('newest_bars') }}(symbol, '{{ counted_timeframe() }}', null, null, 'sampled') as bar
    );
    {% endif %}
begin
    return (
        with

        answered as materialized (
            select * from {{ function('newest_bars') }}(symbol, timeframe, row_limit, before, bars)
        ),

        newest as (
            select * from answered order by answered.timestamp desc limit 1
        ),

        candles as (
            select json_agg(candle) as ohlc
            from (
                select
                    extract(epoch from answered.timestamp)::bigint as time,
                    answered.open, answered.high, answered.low, answered.close, answered.volume
                from answered
            ) as candle
        ),

        series as (
            select
                count(*) as bars_returned,
                {% for average in ['tema', 'hrma', 'smma'] %}
                json_agg(answered.{{ average }}) filter (where '{{ average }}' = any(seen)) as {{ average }},
                {% endfor %}
                {# `-> 0` is the newest of an array, and a number itself #}
                {% for band in var('keltner_bands') %}
                json_agg(answered.keltner_channels -> '{{ band }}' -> 0)
                    filter (where 'keltner_channels' = any(seen)) as {{ band }}{{ ',' if not loop.last }}
                {% endfor %}
            from answered
        ),

        {# of a point that several bars have, what the newest of them says; a point without time cannot be told apart #}
        momentum_points as (
            select distinct on (point.time, case when point.time is null then point.place end)
                point.time, point.type, point.zscore
            from (
                select
                    answered.timestamp,
                    {{ point_time('momentum', 'answered.timestamp') }} as time,
                    momentum.type, momentum.zscore, momentum.place
                from answered
                cross join lateral {{ function('points') }}(answered.momentum_candles) as momentum
                where momentum.type is not null and 'momentum_candles' = any(seen)
            ) as point
            where point.time is not null or point.timestamp = (select newest.timestamp from newest)
            order by
                point.time,
                case when point.time is null then point.place end desc,
                point.timestamp desc
        )

        select
            json_build_object(
                'success', true,
                'data', json_build_object(
                    'ohlc', candles.ohlc,
                    {% for column in ['fractals', 'horizontal_trendlines', 'diagonal_trendlines', 'zigzag'] %}
                    '{{ column }}', case when '{{ column }}' = any(seen) then
                        {{ points_by_name('newest.' ~ column, 'newest.timestamp') }}
                    end,
                    {% endfor %}
                    'momentum_candles', case when 'momentum_candles' = any(seen) then
                        (select coalesce(json_agg(momentum_points), '[]') from momentum_points)
                    end,
                    'keltner_channels', case when 'keltner_channels' = any(seen) then
                        json_build_object(
                            {% for band in var('keltner_bands') %}
                            '{{ band }}', series.{{ band }}{{ ',' if not loop.last }}
                            {% endfor %}
                        )
                    end,
                    'tema', series.tema,
                    'hrma', series.hrma,
                    'smma', series.smma
                ),
                'metadata', json_build_object(
                    'symbol', upper(symbol),
                    'timeframe', timeframe,
                    'tier', tier,
                    'bars_returned', series.bars_returned,
                    'data_source', 'postgresql',
                    'last_sync', to_char(newest.last_sync at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                    'pro_indicators_enabled', seen @> array['{{ columns | join("', '") }}']
                )
            )
        from newest
        cross join candles
        cross join series
        where seen is not null
    );
end
