with

unread as (
    select
        entity as symbol,
        row_key as bar_key,
        case when row_key ~ '^[0-9]{1,11}$' then to_timestamp(row_key::bigint) end as bar_time,
        column_name,
        reason,
        original,
        extracted_at
    from {{ source('ops', 'rejected_rows') }}
    where source = 'mt5' and resolved_at is null
),

uninterpreted as (
    {% for symbol in var('symbols') %}
    select
        '{{ symbol }}' as symbol,
        bar.timestamp::text as bar_key,
        to_timestamp(bar.timestamp) as bar_time,
        cell.column_name,
        cell.reason,
        cell.original,
        bar.extracted_at
    from {{ source('mt5', symbol) }} as bar
    cross join lateral (
        {% for price in ['open', 'high', 'low', 'close'] %}
        select '{{ price }}' as column_name, 'no price' as reason, bar.{{ price }}::text as original
        where {{ is_number('bar.' ~ price) }} is not true
        union all
        {% endfor %}
        {% for column in json_columns() %}
        select '{{ column }}' as column_name, 'invalid JSON' as reason, bar.{{ column }} as original
        where bar.{{ column }} is not null and {{ repaired_json('bar.' ~ column) }} is null
        {{ 'union all' if not loop.last }}
        {% endfor %}
    ) as cell
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select * from unread
    union all
    select uninterpreted.*
    from uninterpreted
    left join unread using (symbol, bar_key, column_name)
    where unread.symbol is null
)

select
    symbol,
    bar_key,
    bar_time,
    column_name,
    case when column_name in ('timestamp', 'open', 'high', 'low', 'close') then 'bar' else 'value' end as left_out,
    reason,
    original,
    extracted_at
from final
