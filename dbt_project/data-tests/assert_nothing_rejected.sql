-- A returned row is a value of a bar that is in no candle table because it could not be read.
{{ config(severity='warn') }}

select * from {{ ref('rejected_bars') }}
