{# The newest stamp of each table, and not of all: a table may be brought up to an older stamp than another has. #}
{% set indicators = all_rows_of(ref('indicator_data')) %}
declare
    stamps timestamptz[] := array[
        (select max(synced_at) from {{ all_rows_of(ref('instrument_master')) }}),
        (select max(synced_at) from {{ all_rows_of(ref('candle_data')) }})
    ];
begin
    if to_regclass('{{ indicators }}') is not null then
        stamps := stamps || (select max(synced_at) from {{ indicators }});
    end if;
    return (
        select string_agg(coalesce((extract(epoch from stamp) * 1000000)::bigint::text, ''), '-' order by place)
        from unnest(stamps) with ordinality as each_table (stamp, place)
    );
end
