-- A returned row is a value of a Bybit execution that could not be read, and so is in no trade.
{{ config(severity='warn') }}

select * from {{ ref('rejected_executions') }}
