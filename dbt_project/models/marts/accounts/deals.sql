select
    account_id,
    history_ticket as ticket,
    ticket as position_ticket,
    order_ticket,
    symbol,
    type,
    entry,
    volume,
    price,
    moment as deal_time,
    profit,
    swap,
    commission,
    fee,
    reason,
    magic,
    comment,
    extracted_at as synced_at
from {{ ref('stg_accounts__history') }}
where kind in ('deal', 'canceled')
{% if is_incremental() %}
    and extracted_at > (select coalesce(max(synced_at), '-infinity') from {{ this }})
{% endif %}
