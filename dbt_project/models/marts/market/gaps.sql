{#
    A session day without a minute of an instrument that traded on it, by its daily candle. An index has no volume, so
    there a daily candle is enough. Minutes begin in 2022.
#}
with

traded as (
    select
        daily.instrument_id,
        daily.day
    from {{ all_rows_of(source('upstox_market', 'coverage')) }} as daily
    inner join {{ all_rows_of(ref('instrument_master')) }} as master on daily.instrument_id = master.instrument_id
    inner join {{ all_rows_of(ref('sessions')) }} as sessions
        on master.exchange = sessions.exchange and daily.day = sessions.day
    where daily.timeframe = '1d'
        and daily.day >= '2022-01-01'
        and (daily.volume > 0 or master.instrument_type = 'INDEX')
),

missing as (
    select
        traded.instrument_id,
        traded.day
    from traded
    left join {{ all_rows_of(source('upstox_market', 'coverage')) }} as minutes
        on traded.instrument_id = minutes.instrument_id and minutes.timeframe = '1m' and traded.day = minutes.day
    where minutes.instrument_id is null
),

final as (
    select
        missing.instrument_id,
        '1m' as timeframe,
        missing.day,
        asked.asked_at,
        {# history may come late, so an answer of the first week does not settle it #}
        coalesce({{ india_day('asked.asked_at') }} > missing.day + 7, false) as is_settled
    from missing
    left join lateral (
        select max(asked_at) as asked_at
        from {{ source('upstox', 'upstox_windows') }}
        where instrument_id = missing.instrument_id
            and timeframe = '1m'
            and kind <> 'intraday'
            and window_start <= missing.day
            and window_end >= missing.day
            and not missing.day = any(days)
    ) as asked on true
)

select * from final
