select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'open_lots', coalesce(
            json_agg(
                to_jsonb(lots) || jsonb_build_object(
                    'entry_time', {{ iso_text('entry_time') }},
                    'synced_at', {{ iso_text('synced_at') }}
                ) order by entry_time desc, exec_id asc
            ),
            '[]'
        )
    )
from {{ all_rows_of(ref('open_lots')) }} as lots
