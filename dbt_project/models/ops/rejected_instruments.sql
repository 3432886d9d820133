with

in_extraction as (
    select
        entity,
        row_key as instrument_key,
        column_name as field,
        reason,
        original,
        extracted_at
    from {{ source('ops', 'rejected_rows') }}
    where source = 'upstox' and resolved_at is null
),

in_staging as (
    select
        'instruments ' || master as entity,
        instrument_key,
        split_part(fault, ': ', 1) as field,
        split_part(fault, ': ', 2) as reason,
        payload::text as original,
        extracted_at
    from {{ ref('stg_upstox__instruments') }}
    where fault is not null and is_listed
),

final as (
    select * from in_extraction
    union all
    select * from in_staging
)

select * from final
