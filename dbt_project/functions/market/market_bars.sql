{#
    The days that hold the bars are looked up first, in coverage. So the big tables are read between two constants, and
    Postgres plans and opens the partitions of that time alone. `execute` plans anew each time, with these constants.
    Who has computed no indicators yet has no table of them.
#}
{% set candles = all_rows_of(ref('candle_data')) %}
{% set indicators = all_rows_of(ref('indicator_data')) %}
declare
    found constant bigint := {{ function('market_instrument_id') }}(instrument);
    has_indicators constant boolean := to_regclass('{{ indicators }}') is not null;
    first_bar timestamptz;
    last_bar timestamptz;
    about constant jsonb := {{ function('market_instrument') }}(found) || jsonb_build_object('timeframe', timeframe);
    answer json;
begin
    {# of a day that `before` cuts, nobody knows how many bars count #}
    select min(day.first_at), max(day.last_at) into first_bar, last_bar
    from (
        select
            covered.first_at,
            covered.last_at,
            coalesce(
                sum(covered.candles) filter (where covered.last_at < coalesce(before, 'infinity'))
                    over (order by covered.day desc rows between unbounded preceding and 1 preceding),
                0
            ) as newer_bars
        from (
            select *
            from {{ all_rows_of(source('upstox_market', 'coverage')) }} as each_day
            where each_day.instrument_id = found
                and each_day.timeframe = market_bars.timeframe
                and each_day.first_at < coalesce(before, 'infinity')
            order by each_day.day desc
            limit row_limit + 1
        ) as covered
    ) as day
    where day.newer_bars < row_limit;

    execute format(
        $query$
        select
            json_build_object(
                'success', true,
                'data', json_build_object(
                    'ohlc', json_agg(
                        json_build_object(
                            'time', extract(epoch from bar.timestamp)::bigint,
                            'open', bar.open, 'high', bar.high, 'low', bar.low, 'close', bar.close,
                            'volume', bar.volume, 'oi', bar.oi
                        )
                    ),
                    'indicators', json_build_object(
                        {% for column in var('indicator_columns') %}
                        '{{ column.name }}', json_agg(bar.{{ column.name }}){{ ',' if not loop.last }}
                        {% endfor %}
                    )
                ),
                'metadata', $7 || jsonb_build_object(
                    'bars_returned', count(*),
                    'data_source', 'postgresql',
                    'last_sync', {{ iso_text('greatest(max(bar.candle_synced_at), max(bar.indicator_synced_at))') }}
                )
            )
        from (
            select
                candle.*,
                {% for column in var('indicator_columns') %}
                indicator.{{ column.name }},
                {% endfor %}
                indicator.synced_at as indicator_synced_at
            from (
                select timestamp, open, high, low, close, volume, oi, synced_at as candle_synced_at
                from {{ candles }}
                where instrument_id = $1 and timeframe = $2
                    and timestamp between $3 and $4 and timestamp < $5
                order by timestamp desc
                limit $6
            ) as candle
            left join (%s) as indicator on candle.timestamp = indicator.timestamp
            order by candle.timestamp
        ) as bar
        having count(*) > 0
        $query$,
        case when has_indicators then
            'select * from {{ indicators }}'
            ' where instrument_id = $1 and timeframe = $2 and timestamp between $3 and $4 and timestamp < $5'
        else
            'select null::timestamptz as timestamp, null::timestamptz as synced_at'
            {% for column in var('indicator_columns') %}
            ', null::{{ column.type | default('double precision') }} as {{ column.name }}'
            {% endfor %}
            ' where false'
        end
    )
    into answer
    using found, timeframe, first_bar, last_bar, coalesce(before, 'infinity'), row_limit, about;
    return answer;
end
