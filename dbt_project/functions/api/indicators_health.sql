select
    json_build_object(
        'success', true,
        'status', case when count(*) filter (where status <> 'current') = 0 then 'healthy' else 'degraded' end,
        'tables_current', count(*) filter (where status = 'current'),
        'tables_total', count(*),
        'problems', coalesce(
            json_agg(
                json_build_object(
                    'symbol', upper(symbol),
                    'timeframe', timeframe,
                    'status', status,
                    'reason', reason,
                    'newest_bar', {{ iso_text('newest_bar') }},
                    'expected_bar', {{ iso_text('expected_bar') }}
                ) order by symbol, timeframe
            ) filter (where status <> 'current'),
            '[]'
        )
    )
from {{ all_rows_of(ref('sync_health')) }}
