{#
    `offset 0` keeps Postgres from working a direction out again at each place that uses it. The weights are NUMERIC:
    in binary floating point 0.3 - 0.2 is not 0.1.
#}
{% set weights = var('signal_weights') %}
{% set neutral_weights = var('neutral_weights') %}
select
    trend.trend,
    case
        when total.bullish + total.bearish + total.neutral = 0 then 0
        when trend.trend = 'neutral' then {{ var('neutral_strength') }}
        else
            case trend.trend when 'bullish' then total.bullish else total.bearish end
            / (total.bullish + total.bearish + total.neutral)
    end as strength,
    (
        select
            coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'signal', signal.signal, 'direction', signal.direction, 'weight', signal.weight
                    )
                    order by signal.place
                ),
                '[]'
            )
        from (
            values
            {% for signal, weight in weights.items() %}
            (
                {{ loop.index }},
                '{{ signal }}',
                direction.{{ signal }},
                case direction.{{ signal }} when 'neutral' then {{ neutral_weights.get(signal, 0) }} else {{ weight }} end
            ){{ ',' if not loop.last }}
            {% endfor %}
        ) as signal (place, signal, direction, weight)
        where signal.direction is not null
    ) as signals
from (
    select
        {% for average in ['tema', 'hrma', 'smma'] %}
        case when close > {{ average }} then 'bullish' when close <= {{ average }} then 'bearish' end as {{ average }},
        {% endfor %}
        (
            select
                case sign(sum(case when point.type in (1, 2) then 1 when point.type in (4, 5) then -1 end))
                    when 1 then 'bullish'
                    when -1 then 'bearish'
                end
            from {{ function('points') }}(momentum_candles) as point
            where point.place <= {{ var('momentum_candles_counted') }}
        ) as momentum_candles,
        (
            select
                case
                    when close > band.upper then 'bullish'
                    when close < band.lower then 'bearish'
                    when band.upper <> 0 and band.lower <> 0 then 'neutral'
                end
            from (
                select
                    nullif({{ function('keltner_band') }}(keltner_channels, 'upper_middle'), 0) as upper,
                    nullif({{ function('keltner_band') }}(keltner_channels, 'lower_middle'), 0) as lower
            ) as band
        ) as keltner_channels,
        (
            select
                case
                    when peak.prices[1] > peak.prices[2] and bottom.prices[1] > bottom.prices[2] then 'bullish'
                    when peak.prices[1] < peak.prices[2] and bottom.prices[1] < bottom.prices[2] then 'bearish'
                    when peak.prices[2] is not null and bottom.prices[2] is not null then 'neutral'
                end
            from (
                select array_agg(point.price order by point.place) as prices
                from {{ function('points') }}(zigzag -> 'peaks') as point
                where point.price <> 0
            ) as peak
            cross join (
                select array_agg(point.price order by point.place) as prices
                from {{ function('points') }}(zigzag -> 'bottoms') as point
                where point.price <> 0
            ) as bottom
        ) as zigzag
    offset 0
) as direction
cross join lateral (
    select
        {% for way in ['bullish', 'bearish', 'neutral'] %}
        0
        {% for signal, weight in (neutral_weights if way == 'neutral' else weights).items() %}
        + case direction.{{ signal }} when '{{ way }}' then {{ weight }} else 0 end
        {% endfor %}
        as {{ way }}{{ ',' if not loop.last }}
        {% endfor %}
    offset 0
) as total
cross join lateral (
    select
        case
            when
                total.bullish > total.neutral and total.bullish - total.bearish > {{ var('trend_margin') }}
                then 'bullish'
            when
                total.bearish > total.neutral and total.bearish - total.bullish > {{ var('trend_margin') }}
                then 'bearish'
            else 'neutral'
        end as trend
    offset 0
) as trend
