select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'summary', coalesce(json_agg(daily order by exit_date desc, bot_id asc, category asc, symbol asc), '[]')
    )
from {{ all_rows_of(ref('completed_trades_summary')) }} as daily
