{# `limit 1` keeps Postgres from computing an expression once for every place that names it. #}
with

executions as (
    select
        account_uid,
        exec_id,
        category,
        exec_time,
        shaped.payload,
        extracted_at
    from (select * from {{ source('bybit', 'bybit_executions') }}) as landed
    cross join lateral (select {{ execution_of_delivery('landed.payload') }} as payload limit 1) as shaped
),

prices as (
    select * from {{ source('bybit', 'bybit_prices') }}
),

bots as (
    select * from {{ ref('bots') }}
),

final as (
    select
        executions.account_uid,
        executions.exec_id,
        executions.category,
        texts.symbol,
        executions.exec_time,
        coalesce(numbers.seq, 0) as seq,
        texts.exec_type,
        case
            when texts.exec_type = 'Funding' then 'funding'
            when not (judged.is_a_fill or judged.is_moved) then 'other'
            when faults.rejected_fields <> '{}' then 'reject'
            when judged.is_moved then 'moved'
            else 'fill'
        end as kind,
        coalesce(texts.order_id, executions.exec_id) as order_id,
        texts.client_order_id,
        texts.side,
        numbers.price,
        -- a fee taken in the coin just bought is not received
        numbers.quantity - fees.taken_from_quantity as quantity,
        numbers.closed_size,
        numbers.fee,
        texts.fee_currency,
        coalesce(fees.commission, 0) + coalesce(extra.commission, 0) as commission,
        case when fees.commission is null and numbers.fee <> 0 then numbers.fee end as unpriced_fee,
        link.bot_id as linked_bot,
        case when link.bot_id is not null then coalesce(link.reason, reasons.reason) else reasons.reason end as reason,
        (executions.category = 'spot' and texts.side = 'Sell' and not texts.is_leverage)
        or (link.bot_id is null and reasons.only_closes) as only_closes,
        -- as text: dbt's unit tests know no arrays
        nullif(array_to_string(faults.rejected_fields, ' '), '') as faults,
        nullif(array_to_string(faults.ignored, ' '), '') as ignored,
        executions.payload,
        executions.extracted_at
    from executions
    cross join lateral (
        select
            nullif(executions.payload ->> 'symbol', '') as symbol,
            nullif(executions.payload ->> 'execType', '') as exec_type,
            nullif(executions.payload ->> 'orderId', '') as order_id,
            nullif(executions.payload ->> 'orderLinkId', '') as client_order_id,
            executions.payload ->> 'side' as side,
            nullif(executions.payload ->> 'feeCurrency', '') as fee_currency,
            executions.payload ->> 'execPrice' as price,
            executions.payload ->> 'execQty' as quantity,
            -- of the spot leg of a spread
            coalesce(nullif(executions.payload ->> 'execFeeV2', ''), executions.payload ->> 'execFee') as fee,
            -- a spot account closes nothing
            case when executions.category <> 'spot' then nullif(executions.payload ->> 'closedSize', '') end
                as closed_size,
            executions.payload ->> 'seq' as seq,
            coalesce(executions.payload ->> 'isLeverage', '') = '1' as is_leverage,
            nullif(nullif(executions.payload ->> 'extraFees', ''), '[]') as extra_fees,
            coalesce(executions.payload ->> 'stopOrderType', '') as stop_order_type,
            coalesce(executions.payload ->> 'createType', '') as create_type
        limit 1
    ) as texts
    cross join lateral (
        select
            case when {{ is_decimal('texts.price') }} then texts.price::numeric end as price,
            case when {{ is_decimal('texts.quantity') }} then texts.quantity::numeric end as quantity,
            case when {{ is_decimal('texts.fee') }} then texts.fee::numeric end as fee,
            case
                when {{ is_decimal('texts.closed_size') }} and not starts_with(texts.closed_size, '-')
                    then texts.closed_size::numeric
            end as closed_size,
            case
                when length(texts.seq) <= 18 and texts.seq ~ '^[0-9]+$' then texts.seq::bigint
                when texts.seq ~ '^[0-9]{19}$' and texts.seq <= '9223372036854775807' collate "C"
                    then texts.seq::bigint
            end as seq
        limit 1
    ) as numbers
    cross join lateral (
        select
            coalesce(
                texts.exec_type in ('Trade', 'AdlTrade', 'BustTrade', 'Settle', 'Delivery', 'BlockTrade'), false
            ) as is_a_fill,
            coalesce(texts.exec_type in ('MovePosition', 'FutureSpread'), false) as is_moved,
            -- a spot fee is taken from what is received, which is the base coin of a purchase
            case
                when texts.fee_currency is null then executions.category = 'spot' and texts.side = 'Buy'
                else coalesce(starts_with(texts.symbol, texts.fee_currency), false)
            end as fee_is_in_base
        limit 1
    ) as judged
    left join prices
        on texts.fee_currency = prices.coin and prices.day = (executions.exec_time at time zone 'UTC')::date
    cross join lateral (
        select
            numbers.fee * coalesce(
                case when judged.fee_is_in_base and executions.category <> 'inverse' then numbers.price end,
                {{ coin_value(
                    'texts.fee_currency',
                    'executions.category',
                    'texts.symbol',
                    'numbers.price',
                    'prices.price',
                ) }}
            ) as commission,
            case
                when executions.category = 'spot' and texts.side = 'Buy' and judged.fee_is_in_base
                    then coalesce(numbers.fee, 0)
                else 0
            end as taken_from_quantity
        limit 1
    ) as fees
    cross join lateral (
        select
            case
                when texts.extra_fees is null then 0
                else {{ extra_fees(
                    'texts.extra_fees',
                    'executions.category',
                    'texts.symbol',
                    'numbers.price',
                    'executions.exec_time',
                ) }}
            end as commission
        limit 1
    ) as extra
    cross join lateral (
        select
            array_remove(
                array[
                    case when texts.symbol is null or length(texts.symbol) > 200 then 'symbol' end,
                    case when length(texts.order_id) > 200 then 'orderId' end,
                    case when length(texts.client_order_id) > 200 then 'orderLinkId' end,
                    case when coalesce(texts.side, '') not in ('Buy', 'Sell') then 'side' end,
                    case
                        when judged.is_moved and coalesce(numbers.price, 0) >= 0 then null
                        when numbers.price > 0 or numbers.price = 0 and executions.category <> 'inverse' then null
                        else 'execPrice'
                    end,
                    case when numbers.quantity > greatest(fees.taken_from_quantity, 0) then null else 'execQty' end
                ],
                null
            ) as rejected_fields,
            array_remove(
                array[
                    case
                        when numbers.fee is null then 'execFee'
                        when fees.commission is null and numbers.fee <> 0 then 'feeCurrency'
                    end,
                    case when extra.commission is null then 'extraFees' end,
                    case when texts.closed_size is not null and numbers.closed_size is null then 'closedSize' end,
                    case when numbers.seq is null then 'seq' end
                ],
                null
            ) as ignored
        limit 1
    ) as faults
    cross join lateral (
        select {{ exchange_reason('texts.exec_type', 'texts.stop_order_type', 'texts.create_type') }} as reason
        limit 1
    ) as by_exchange
    cross join lateral (
        select
            by_exchange.reason,
            by_exchange.reason not in ('user', 'unknown', 'moved', 'stop_order', 'oco', 'tpsl', 'bidirectional_tpsl')
                as only_closes
    ) as reasons
    left join lateral ({{ linked_bot('bots', 'texts.client_order_id') }}) as link on true
)

select * from final
