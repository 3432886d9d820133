{#
    Who holds what, fill by fill. The one rule of the trades that needs its own outcome of the fill before: whose
    position a fill without a client order id reduces depends on all positions at that moment. As an aggregate over a
    window it reads each fill once. This is its next step, in plpgsql: what a fill does to the book that `step` left.
    macros/materializations/postgres__aggregate_function_sql.sql makes the aggregate of it.

    A book is {side and holder: [opened, closed]}: all that the holder ever opened and closed on one side of one symbol of
    one account. The side is + for long and - for short. Under the empty name stands the account as the exchange sees it:
    [long, short, hedge].

    In one-way mode the exchange nets all holders into one position. In hedge mode it keeps a long one and a short one,
    and `exchange_closed` says how much of the side against the fill it took. A fill that would reduce the netted position
    and closes nothing by the exchange's word proves hedge mode. That holds until the account is flat: only then can the
    mode be switched.

    It runs once for every fill, so it is written for speed: few statements, and one change of the book at the end.
#}
declare
    book constant jsonb := coalesce(step.book, opening_book, '{}');
    account constant jsonb := coalesce(book -> '', '[0, 0, 0]');
    amount constant numeric := abs(quantity);
    own constant text := case when quantity > 0 then '+' else '-' end;
    other constant text := case when quantity > 0 then '-' else '+' end;
    outcome {{ this.schema }}.bybit_book_step;
    own_side numeric := (account -> case when quantity > 0 then 0 else 1 end)::numeric;
    other_side numeric := (account -> case when quantity > 0 then 1 else 0 end)::numeric;
    is_hedge boolean := account -> 2 = '1';
    exchange_takes numeric;
    holding jsonb;
    changes jsonb := '{}';
    held_closed numeric := 0;
    held numeric := 0;
    reducible numeric := 0;
    rest numeric;
begin
    outcome.book := book;
    outcome.closed := 0;
    outcome.unmatched := 0;
    outcome.opened := 0;
    if quantity = 0 then
        return outcome;
    end if;

    if exchange_closed = 0 and other_side > 0 and may_hedge and not only_closes then
        is_hedge := true;
    end if;
    outcome.position_mode := case when is_hedge then 'hedge' else 'one_way' end;

    if linked_bot is not null then
        outcome.bot_id := linked_bot;
        outcome.attributed_by := 'link_id';
    elsif exchange_closed = 0 then
        outcome.bot_id := 'unassigned';
        outcome.attributed_by := 'no_position';
    else
        select
            case when count(*) = 1 then min(substr(key, 2)) else 'unassigned' end,
            case count(*) when 0 then 'no_position' when 1 then 'open_position' else 'several_positions' end,
            coalesce(sum((value -> 0)::numeric - (value -> 1)::numeric), 0)
        into outcome.bot_id, outcome.attributed_by, reducible
        from jsonb_each(book)
        where starts_with(key, other) and (value -> 0)::numeric > (value -> 1)::numeric;
    end if;

    holding := book -> (other || outcome.bot_id);
    if holding is not null then
        held_closed := (holding -> 1)::numeric;
        held := (holding -> 0)::numeric - held_closed;
    end if;
    if held > 0 then
        outcome.closed := least(amount, held, case when is_hedge or linked_bot is null then exchange_closed end);
        if outcome.closed > 0 then
            outcome.closed_from := held_closed;
            changes := jsonb_build_object(
                other || outcome.bot_id, jsonb_build_array(holding -> 0, held_closed + outcome.closed)
            );
        end if;
    end if;

    -- What closes something that is not known to be open stays unmatched, and opens nothing.
    rest := amount - outcome.closed;
    if rest > 0 then
        if only_closes then
            outcome.unmatched := rest;
        elsif linked_bot is null or is_hedge and exchange_closed is not null then
            outcome.unmatched := least(rest, greatest(0, coalesce(exchange_closed, reducible) - outcome.closed));
        elsif exchange_closed > outcome.closed then
            -- the exchange nets the bots' positions: the fill may have closed another bot's, to open its own
            outcome.unmatched := least(rest, greatest(0, exchange_closed - greatest(outcome.closed, other_side)));
        end if;
        outcome.opened := rest - outcome.unmatched;
        if outcome.opened > 0 then
            outcome.opened_by := case when linked_bot is null then 'unassigned' else outcome.bot_id end;
            holding := coalesce(book -> (own || outcome.opened_by), '[0, 0]');
            outcome.opened_from := (holding -> 0)::numeric;
            changes := changes || jsonb_build_object(
                own || outcome.opened_by, jsonb_build_array(outcome.opened_from + outcome.opened, holding -> 1)
            );
        end if;
    end if;

    -- The account as a whole: what is known of it to be closed, and what the exchange says beyond that.
    exchange_takes := least(amount, coalesce(exchange_closed, other_side));
    rest := case when only_closes then 0 else amount - exchange_takes end;
    if is_hedge then
        outcome.account_closed := exchange_takes;
        own_side := own_side + rest;
        other_side := greatest(0, other_side - exchange_takes);
        is_hedge := own_side + other_side > 0;
    else
        outcome.account_closed := greatest(least(amount, other_side), exchange_takes);
        own_side := case when exchange_takes > 0 then 0 else own_side end + rest;
        other_side := case when amount > exchange_takes then 0 else greatest(0, other_side - exchange_takes) end;
    end if;
    outcome.book := book || changes || jsonb_build_object(
        '',
        case
            when quantity > 0 then jsonb_build_array(own_side, other_side, is_hedge::integer)
            else jsonb_build_array(other_side, own_side, is_hedge::integer)
        end
    );
    return outcome;
end
