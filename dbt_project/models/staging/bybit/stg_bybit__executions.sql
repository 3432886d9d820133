{# `limit 1` keeps Postgres from computing an expression once for every place that names it. #}
with

executions as (
    select * from {{ source('bybit', 'bybit_executions') }}
),

bots as (
    select * from {{ ref('bots') }}
),

final as (
    select
        executions.exec_id,
        executions.category,
        texts.symbol,
        executions.exec_time,
        coalesce(numbers.seq, 0) as seq,
        texts.exec_type,
        case
            when texts.exec_type = 'Funding' then 'funding'
            when not judged.changes_position then 'other'
            when faults.rejected_fields <> '{}' then 'reject'
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
        coalesce(fees.commission, 0) as commission,
        link.bot_id as linked_bot,
        case when link.bot_id is not null then coalesce(link.reason, reasons.reason) else reasons.reason end as reason,
        executions.category = 'spot' and texts.side = 'Sell' or link.bot_id is null and reasons.only_closes
            as only_closes,
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
            executions.payload ->> 'execFee' as fee,
            nullif(executions.payload ->> 'closedSize', '') as closed_size,
            executions.payload ->> 'seq' as seq,
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
            case when texts.seq ~ '^[0-9]{1,18}$' then texts.seq::bigint end as seq
        limit 1
    ) as numbers
    cross join lateral (
        select
            coalesce(
                texts.exec_type in ('Trade', 'AdlTrade', 'BustTrade', 'Settle', 'Delivery', 'BlockTrade'), false
            ) as changes_position,
            coalesce(starts_with(texts.symbol, texts.fee_currency), false) as fee_is_in_base,
            -- linear contracts settle in a dollar coin that the symbol need not name (BTCPERP)
            texts.fee_currency is null
            or starts_with(texts.symbol, texts.fee_currency)
            or right(texts.symbol, length(texts.fee_currency)) = texts.fee_currency
            or executions.category in ('linear', 'option') and texts.fee_currency in ('USDT', 'USDC', 'USD')
                as fee_has_a_price
        limit 1
    ) as judged
    cross join lateral (
        select
            case
                when not judged.fee_has_a_price then null
                -- an inverse contract earns and pays in its coin
                when judged.fee_is_in_base and executions.category <> 'inverse' then numbers.fee * numbers.price
                else numbers.fee
            end as commission,
            case
                when executions.category = 'spot' and texts.side = 'Buy' and judged.fee_is_in_base
                    then coalesce(numbers.fee, 0)
                else 0
            end as taken_from_quantity
        limit 1
    ) as fees
    cross join lateral (
        select
            array_remove(
                array[
                    case when texts.symbol is null then 'symbol' end,
                    case when coalesce(texts.side, '') not in ('Buy', 'Sell') then 'side' end,
                    case
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
                        when not judged.fee_has_a_price and numbers.fee <> 0 then 'feeCurrency'
                    end,
                    case when texts.closed_size is not null and numbers.closed_size is null then 'closedSize' end,
                    case when numbers.seq is null then 'seq' end
                ],
                null
            ) as ignored
        limit 1
    ) as faults
    cross join lateral (
        select
            case
                when texts.exec_type = 'AdlTrade' then 'adl'
                when texts.exec_type = 'BustTrade' then 'liquidation'
                when texts.exec_type = 'Delivery' then 'delivery'
                when texts.exec_type = 'Settle' then 'settlement'
                when texts.create_type like 'CreateByAdl%' then 'adl'
                when texts.create_type like 'CreateByLiq%' then 'liquidation'
                when texts.create_type ilike 'CreateByTakeOver%' then 'liquidation'
                when texts.create_type = 'CreateBySettle' then 'settlement'
                when texts.stop_order_type in ('StopLoss', 'PartialStopLoss') then 'stop_loss'
                when texts.stop_order_type in ('TakeProfit', 'PartialTakeProfit') then 'take_profit'
                when texts.stop_order_type in ('TrailingStop', 'TrailingProfit') then 'trailing_stop'
                when texts.create_type in ('CreateByStopLoss', 'CreateByPartialStopLoss') then 'stop_loss'
                when texts.create_type in ('CreateByTakeProfit', 'CreateByPartialTakeProfit') then 'take_profit'
                when texts.create_type in ('CreateByTrailingStop', 'CreateByTrailingProfit') then 'trailing_stop'
                when texts.create_type in ('CreateByClosing', 'CreateByAdminClosing') then 'closing'
                when texts.create_type = 'CreateByUser' then 'user'
                else 'unknown'
            end as reason
        limit 1
    ) as by_exchange
    cross join lateral (
        select
            by_exchange.reason,
            by_exchange.reason not in ('user', 'unknown') as only_closes
    ) as reasons
    left join lateral (
        select
            bots.bot_id,
            -- Without the time: what follows a second ':', or nine digits and more. Of an id that was cut at Bybit's 36
            -- characters, any digits at the end. NULL where nothing is left.
            nullif(
                regexp_replace(
                    substr(texts.client_order_id, length(bots.bot_id) + 2),
                    case
                        when substr(texts.client_order_id, length(bots.bot_id) + 1, 1) = ':' then ':.*$'
                        when length(texts.client_order_id) >= 36 then '(^|[:_-])[0-9]*$'
                        else '(^|[:_-])([0-9]{9,})?$'
                    end,
                    ''
                ),
                ''
            ) as reason
        from bots
        where texts.client_order_id = bots.bot_id
            or (
                starts_with(texts.client_order_id, bots.bot_id)
                and substr(texts.client_order_id, length(bots.bot_id) + 1, 1) in (':', '-', '_')
            )
        order by length(bots.bot_id) desc
        limit 1
    ) as link on true
)

select * from final
