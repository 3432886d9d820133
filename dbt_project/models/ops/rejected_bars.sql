with

in_extraction as (
    select
        entity as symbol,
        row_key as bar_key,
        case when row_key ~ '^[0-9]{1,11}$' then to_timestamp(row_key::bigint) end as bar_time,
        column_name,
        reason,
        original,
        extracted_at,
        dismissed_at
    from {{ source('ops', 'rejected_rows') }}
    where source = 'mt5' and (resolved_at is null or dismissed_at is not null)
),

in_staging as (
    {% for symbol in var('symbols') %}
    select
        '{{ symbol }}' as symbol,
        bar.timestamp::text as bar_key,
        to_timestamp(bar.timestamp) as bar_time,
        cell.column_name,
        cell.reason,
        cell.original,
        bar.extracted_at
    from (select * from {{ source('mt5', symbol) }}) as bar
    cross join lateral (
        {% for price in price_columns() %}
        select '{{ price }}' as column_name, 'no price' as reason, bar.{{ price }}::text as original
        where {{ is_number('bar.' ~ price) }} is not true
        {{ 'union all' if not loop.last }}
        {% endfor %}
        {% for column in json_columns() %}
        union all
        select '{{ column }}' as column_name, 'invalid JSON' as reason, bar.{{ column }} as original
        where bar.{{ column }} is not null and {{ repaired_json('bar.' ~ column) }} is null
        {% endfor %}
    ) as cell
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

final as (
    select
        symbol,
        bar_key,
        bar_time,
        column_name,
        reason,
        original,
        extracted_at
    from in_extraction
    where dismissed_at is null
    union all
    {# staging has NULL for what the extraction could not type: dismissed there, it is no reject here either #}
    select in_staging.*
    from in_staging
    left join in_extraction using (symbol, bar_key, column_name)
    where in_extraction.symbol is null
)

select
    symbol,
    bar_key,
    bar_time,
    column_name,
    case
        when column_name = 'timestamp' then 'bar'
        {% for price in price_columns() %}
        when column_name = '{{ price }}' then 'bar'
        {% endfor %}
        else 'value'
    end as left_out,
    reason,
    original,
    extracted_at
from final
