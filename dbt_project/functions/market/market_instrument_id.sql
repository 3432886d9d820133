{# Raises TH400, which the API passes on as an error of the caller: the message, and the detail as members of the answer. #}
declare
    found bigint[];
begin
    if instrument ~ '^\d{1,18}$' then
        select array_agg(instrument_id) into found
        from {{ all_rows_of(ref('instrument_master')) }}
        where instrument_id = instrument::bigint;
    end if;
    if found is null then
        select array_agg(instrument_id order by instrument_id) into found
        from {{ all_rows_of(ref('instrument_master')) }}
        where lower(trading_symbol) = lower(instrument);
    end if;
    if found is null then
        raise exception using
            errcode = 'TH400',
            message = format(
                'unknown instrument ''%s''; expected an instrument_id or a trading symbol, as'
                ' /api/market/instruments?search=… lists them',
                left(instrument, 40)
            );
    elsif cardinality(found) > 1 then
        raise exception using
            errcode = 'TH400',
            message = format(
                '''%s'' is the trading symbol of %s instruments; ask by instrument_id: %s',
                left(instrument, 40), cardinality(found),
                (
                    select string_agg(format('%s (%s)', instrument_id, segment), ', ' order by instrument_id)
                    from {{ all_rows_of(ref('instrument_master')) }}
                    where instrument_id = any(found[:20])
                )
            ),
            detail = (
                select json_build_object('choices', json_agg({{ function('market_instrument') }}(each_id) order by each_id))
                from unnest(found[:20]) as each_id
            );
    end if;
    return found[1];
end
