select
    bot_id,
    account_uid,
    fee_currency,
    sum(unpriced_fee) as fees
from {{ ref('int_bybit__fills') }}
where unpriced_fee is not null and not is_void
group by bot_id, account_uid, fee_currency
