-- A returned row is a position or a row of the history whose position is in no trade.
select
    account_id,
    ticket
from {{ ref('stg_accounts__positions') }}
union
select
    account_id,
    ticket
from {{ ref('stg_accounts__history') }}
where kind in ('trade', 'deal')
except
select
    account_id,
    ticket
from {{ ref('trades') }}
