{# What is meant most often comes first: an exact symbol, then prefixes; what is listed; an index or a share, not one of
   its thousands of contracts. #}
with

sought as (
    select lower(search) as part
),

{# numbered after the limit, so that only the best are sorted and not all #}
found as (
    select
        best.instrument_id,
        row_number() over () as place
    from (
        select master.instrument_id
        from {{ all_rows_of(ref('instrument_master')) }} as master
        cross join sought
        where position(sought.part in lower(master.trading_symbol)) > 0
            or position(sought.part in lower(master.name)) > 0
        order by
            case
                when lower(master.trading_symbol) = sought.part then 1
                when starts_with(lower(master.trading_symbol), sought.part) then 2
                when starts_with(lower(master.name), sought.part) then 3
                else 4
            end asc,
            master.is_listed desc,
            case master.instrument_type when 'INDEX' then 1 when 'EQUITY' then 2 when 'FUTURES' then 3 else 4 end asc,
            master.trading_symbol asc,
            master.instrument_id asc
        limit row_limit
    ) as best
),

listed as (
    select
        found.place,
        {{ function('market_instrument') }}(found.instrument_id) as about,
        bars.timeframes,
        bars.newest_bar
    from found
    cross join lateral (
        select
            jsonb_agg(newest_of_each.timeframe order by newest_of_each.place)
                filter (where newest_of_each.opened is not null) as timeframes,
            max(newest_of_each.opened) as newest_bar
        from (
            select
                wanted.timeframe,
                wanted.place,
                (
                    select covered.last_at
                    from {{ all_rows_of(source('upstox_market', 'coverage')) }} as covered
                    where covered.instrument_id = found.instrument_id and covered.timeframe = wanted.timeframe
                    order by covered.day desc
                    limit 1
                ) as opened
            from (values
                {% for name in var('market_timeframes') %}
                ('{{ name }}', {{ loop.index }}){{ ',' if not loop.last }}
                {% endfor %}
            ) as wanted (timeframe, place)
        ) as newest_of_each
    ) as bars
)

select
    json_build_object(
        'success', true,
        'instruments', coalesce(
            json_agg(
                about || jsonb_build_object(
                    'timeframes', coalesce(timeframes, '[]'),
                    'newest_bar', extract(epoch from newest_bar)::bigint
                ) order by place
            ),
            '[]'
        ),
        'total_count', count(*)
    )
from listed
