with

in_extraction as (
    select
        null::text as account_uid,
        row_key as exec_id,
        entity as category,
        null::timestamptz as exec_time,
        column_name as field,
        'execution' as left_out,
        reason,
        original,
        extracted_at
    from {{ source('ops', 'rejected_rows') }}
    where source = 'bybit' and resolved_at is null
),

executions as (
    select
        account_uid,
        exec_id,
        category,
        exec_time,
        kind,
        faults,
        ignored,
        payload,
        extracted_at
    from {{ ref('stg_bybit__executions') }}
),

in_staging as (
    select
        executions.account_uid,
        executions.exec_id,
        executions.category,
        executions.exec_time,
        fault.field,
        fault.left_out,
        case fault.field
            when 'symbol' then 'no symbol, or longer than 200 characters'
            when 'orderId' then 'longer than 200 characters'
            when 'orderLinkId' then 'longer than 200 characters'
            when 'extraFees' then 'no list of fees that can be valued; those are counted as 0'
            when 'side' then 'neither Buy nor Sell'
            when 'feeCurrency' then 'a fee in this currency cannot be valued; counted as 0'
            when 'execFee' then 'no number; counted as 0'
            when 'closedSize' then 'no quantity; left out'
            when 'seq' then 'no sequence number; counted as 0'
            else 'no number that a fill can have'
        end as reason,
        executions.payload ->> fault.field as original,
        executions.extracted_at
    from executions
    cross join lateral (
        select
            unnest(string_to_array(executions.faults, ' ')) as field,
            'execution' as left_out
        where executions.kind = 'reject'
        union all
        select
            unnest(string_to_array(executions.ignored, ' ')) as field,
            'value' as left_out
        where executions.kind in ('fill', 'moved', 'reject')
    ) as fault
),

final as (
    select * from in_extraction
    union all
    select * from in_staging
)

select * from final
