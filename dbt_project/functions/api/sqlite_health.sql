select
    json_build_object(
        'success', true,
        'lastUpdate', floor(extract(epoch from source_modified_at) * 1000)::bigint
    )
from {{ all_rows_of(source('ops', 'sync_runs')) }}
where source = 'mt5' and source_modified_at is not null
order by run_id desc
limit 1
