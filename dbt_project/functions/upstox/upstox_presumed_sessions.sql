select
    exchanges.name,
    days.day::date
from unnest(array['NSE', 'BSE']) as exchanges (name)
cross join generate_series($1::timestamp, $2::timestamp, interval '1 day') as days (day)
left join {{ all_rows_of(source('upstox', 'upstox_holidays')) }} as holidays on days.day::date = holidays.day
where case
    when jsonb_path_exists(
        holidays.payload, '$.open_exchanges[*].exchange ? (@ == $name)', jsonb_build_object('name', exchanges.name)
    ) then true
    when coalesce(holidays.payload -> 'closed_exchanges', '[]') ? exchanges.name then false
    else extract(isodow from days.day) < 6
end
