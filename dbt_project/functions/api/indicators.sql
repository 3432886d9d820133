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
        from {{ all_rows_of(ref('tiers')) }} as tiers
        where tiers.tier = indicators.tier
    );
    -- a look into the array for each bar and list would take longer than all the rest
    {% for column in columns %}
    sees_{{ column }} constant boolean := '{{ column }}' = any(seen);
    {% endfor %}
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
            select * from answered where answered.timestamp = (select max(answered.timestamp) from answered)
        ),

        series as (
            select
                count(*) as bars_returned,
                json_agg(candle) as ohlc,
                {% for average in ['tema', 'hrma', 'smma'] %}
                json_agg(answered.{{ average }}) filter (where sees_{{ average }}) as {{ average }},
                {% endfor %}
                {# `-> 0` is the newest of an array, and a number itself #}
                {% for band in var('keltner_bands') %}
                json_agg(answered.keltner_channels -> '{{ band }}' -> 0)
                    filter (where sees_keltner_channels) as {{ band }}{{ ',' if not loop.last }}
                {% endfor %}
            from answered
            cross join lateral (
                select
                    extract(epoch from answered.timestamp)::bigint as time,
                    answered.open, answered.high, answered.low, answered.close, answered.volume
            ) as candle
        ),

        {% if not counts_bars() %}
        {# A bar without a momentum candle has the list of the bar before it. #}
        changed_momentum as (
            select *
            from (
                select
                    answered.timestamp,
                    answered.momentum_candles,
                    lead(answered.momentum_candles) over () as next_momentum_candles
                from answered
            ) as answered
            where answered.momentum_candles is distinct from answered.next_momentum_candles
        ),
        {% endif %}

        {# Several bars name the same point: what the newest of them says counts. #}
        timed_momentum as (
            select distinct on (point.time)
                point.time, point.type, point.zscore
            from (
                select
                    answered.timestamp,
                    {{ point_time('momentum', 'answered.timestamp') }} as time,
                    momentum.type, momentum.zscore
                from {{ 'answered' if counts_bars() else 'changed_momentum' }} as answered
                cross join lateral {{ function('points') }}(answered.momentum_candles) as momentum
                where momentum.type is not null and sees_momentum_candles
            ) as point
            where point.time is not null
            order by point.time, point.timestamp desc
        ),

        {# Points without a time cannot be told apart, so they are those of the newest bar alone. #}
        momentum as (
            select time, type, zscore from timed_momentum
            union all
            select null, type, zscore
            from (
                select point.*
                from newest
                cross join lateral {{ function('points') }}(newest.momentum_candles) as point
                where point.type is not null and {{ point_time('point', 'newest.timestamp') }} is null
                order by point.place desc
            ) as untimed
        )

        select
            json_build_object(
                'success', true,
                'data', json_build_object(
                    'ohlc', series.ohlc,
                    {% for column in ['fractals', 'horizontal_trendlines', 'diagonal_trendlines', 'zigzag'] %}
                    '{{ column }}', case when sees_{{ column }} then
                        {{ points_by_name('newest.' ~ column, 'newest.timestamp') }}
                    end,
                    {% endfor %}
                    'momentum_candles', case when sees_momentum_candles then
                        (select coalesce(json_agg(momentum), '[]') from momentum)
                    end,
                    'keltner_channels', case when sees_keltner_channels then
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
                    'last_sync', {{ iso_text('newest.last_sync') }},
                    'pro_indicators_enabled', seen @> array['{{ columns | join("', '") }}']
                )
            )
        from newest
        cross join series
        where seen is not null
    );
end
