with

page as (
    select *
    from {{ all_rows_of(ref('completed_trades')) }}
    order by exit_time desc, trade_id asc
    limit row_limit
    offset row_offset
)

select
    json_build_object(
        'success', true,
        'total_count', (select count(*) from {{ all_rows_of(ref('completed_trades')) }}),
        'limit', row_limit,
        'offset', row_offset,
        'trades', coalesce(
            json_agg(
                to_jsonb(page) || jsonb_build_object(
                    'entry_time', {{ iso_text('page.entry_time') }},
                    'exit_time', {{ iso_text('page.exit_time') }},
                    'synced_at', {{ iso_text('page.synced_at') }},
                    'created_at', {{ iso_text('page.created_at') }},
                    'updated_at', {{ iso_text('page.updated_at') }}
                ) order by page.exit_time desc, page.trade_id asc
            ),
            '[]'
        )
    )
from page
