select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'exit_reasons', coalesce(json_agg(reasons order by bot_id, category, symbol, exit_reason), '[]')
    )
from {{ all_rows_of(ref('exit_reason_breakdown')) }} as reasons
