-- A returned row is a bot and symbol whose fills do not come out in full: what was traded has to be what is matched
-- (an entry and an exit each), open and unmatched, and the fees on it those that were paid, to the last digit.
with

traded as (
    select
        account_uid,
        category,
        symbol,
        quantity,
        commission
    from {{ ref('int_bybit__fills') }}
    where not is_void
),

accounted_for as (
    select
        account_uid,
        category,
        symbol,
        entry_qty + exit_qty as quantity,
        total_commission as commission
    from {{ ref('completed_trades') }}
    union all
    select
        account_uid,
        category,
        symbol,
        open_qty,
        commission
    from {{ ref('open_lots') }}
    union all
    select
        account_uid,
        category,
        symbol,
        unmatched_qty,
        commission
    from {{ ref('unmatched_executions') }}
    where attributed_by <> 'not_a_fill'
),

differences as (
    select
        account_uid,
        category,
        symbol,
        quantity,
        commission
    from traded
    union all
    select
        account_uid,
        category,
        symbol,
        -quantity,
        -commission
    from accounted_for
)

select
    account_uid,
    category,
    symbol,
    sum(quantity) as quantity_missing,
    sum(commission) as commission_missing
from differences
group by account_uid, category, symbol
having sum(quantity) <> 0 or sum(commission) <> 0
