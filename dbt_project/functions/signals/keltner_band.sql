{# A band is a number, or an array of numbers, the newest first. #}
select
case jsonb_typeof(channels -> band)
    when 'array' then {{ number_of('channels -> band -> 0') }}
    else {{ number_of('channels -> band') }}
end
