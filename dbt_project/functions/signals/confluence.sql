begin
    return (
        select
            case when count(found.timeframe) > 0 then
                jsonb_build_object(
                    'symbol', upper(confluence.symbol),
                    'timestamp', {{ iso_text('at') }},
                    'confluence_score', {{ function('confluence_score') }}(
                        count(*) filter (where found.trend = 'bullish'),
                        count(*) filter (where found.trend = 'bearish'),
                        coalesce(sum(found.strength), 0)
                    ),
                    'max_score', 10,
                    'signals', jsonb_build_object(
                        'bullish', count(*) filter (where found.trend = 'bullish'),
                        'bearish', count(*) filter (where found.trend = 'bearish'),
                        'neutral', count(*) filter (where found.trend = 'neutral')
                    ),
                    'breakdown', jsonb_object_agg(
                        listed.timeframe,
                        jsonb_build_object(
                            'trend', found.trend,
                            'strength', round(coalesce(found.strength, 0), 4),
                            'signals', coalesce(found.signals, '[]')
                        )
                    ),
                    'all_117_indicators', jsonb_object_agg(
                        listed.timeframe,
                        coalesce(
                            found.indicators,
                            '{ {%- for column in var('candle_columns') -%}
                                "{{ column.name }}": null{{ ', ' if not loop.last }}
                            {%- endfor -%} }'
                        )
                    )
                )
            end
        from unnest(array['{{ var('timeframes') | join("', '") }}']) as listed (timeframe)
        left join {{ function('timeframe_signals') }}(confluence.symbol, confluence.at) as found
            on listed.timeframe = found.timeframe
    );
end
