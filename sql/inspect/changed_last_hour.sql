-- What changed in the last hour? Rows of each candle table that were written in it.
select
    symbol || '_' || lower(timeframe) as table_name,
    count(*) as rows_changed,
    min(timestamp) as oldest_bar,
    max(timestamp) as newest_bar,
    max(synced_at) as last_synced_at
from wh.public.candles
where synced_at >= now() - interval 1 hour
group by all
order by table_name
