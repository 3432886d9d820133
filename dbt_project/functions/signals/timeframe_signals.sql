{# In plpgsql, so that a connection keeps its plan: to plan it takes longer than to run it. #}
begin
    return query
        select
            candle.timeframe,
            candle.timestamp,
            candle_signals.trend,
            candle_signals.strength,
            candle_signals.signals,
            candle.indicators
        from {{ function('newest_candles') }}(symbol, at) as candle
        cross join lateral {{ candle_signals_of('candle') }};
end
