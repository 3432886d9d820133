{# Rejects are a difference: the view that reads every execution takes seconds for as many as a busy account has. #}
with

fills as (
    select
        count(*) as fills,
        count(*) filter (where unmatched > 0) as unmatched,
        count(exchange_closed) as compared,
        count(*) filter (where account_closed <> exchange_closed) as differing
    from {{ ref('int_bybit__fills') }}
    where not is_void
),

executions as (
    select
        count(*) filter (where moves_a_position) as fills,
        count(*) filter (where not moves_a_position and exec_type is distinct from 'Funding') as others
    from (
        select
            exec_type,
            coalesce(
                exec_type in (
                    'Trade', 'AdlTrade', 'BustTrade', 'Settle', 'Delivery', 'BlockTrade', 'MovePosition', 'FutureSpread'
                ),
                false
            ) as moves_a_position
        from (
            select case when payload ? 'deliveryTime' then 'Delivery' else payload ->> 'execType' end as exec_type
            from {{ source('bybit', 'bybit_executions') }}
        ) as typed
    ) as kinds
),

in_extraction as (
    select count(*) as rejected
    from {{ source('ops', 'rejected_rows') }}
    where source = 'bybit' and resolved_at is null
),

final as (
    select
        fills.unmatched + executions.others as unmatched_executions,
        executions.fills - fills.fills + in_extraction.rejected as rejected_executions,
        fills.compared as fills_compared,
        fills.differing as fills_differing
    from fills
    cross join executions
    cross join in_extraction
)

select * from final
