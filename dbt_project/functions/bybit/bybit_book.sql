{#
    Who holds what, fill by fill. The one rule of the trades that needs its own outcome of the fill before: whose
    position a fill without a client order id reduces depends on all positions at that moment. As an aggregate over a
    window it reads each fill once. This is its next step, in plpgsql: what a fill does to the book that `step` left.
    macros/materializations/postgres__aggregate_function_sql.sql makes the aggregate of it.

    A book is {holder: [long opened, long closed, short opened, short closed]}: all that the holder ever opened and closed
    in one symbol of one account. Under the empty name stands the account as the exchange sees it: [long, short, hedge].

    In one-way mode the exchange nets all holders into one position. In hedge mode it keeps a long one and a short one,
    and `exchange_closed` says how much of the side against the fill it took. A fill that would reduce the netted position
    and closes nothing by the exchange's word proves hedge mode. That holds until the account is flat: only then can the
    mode be switched.
#}
declare
    book jsonb := coalesce(step.book, opening_book, '{}');
    account jsonb := coalesce(book -> '', '[0, 0, 0]');
    amount constant numeric := abs(quantity);
    -- places of what the fill can open and of what it can close, in a holder's row
    own constant integer := case when quantity > 0 then 0 else 2 end;
    other constant integer := 2 - own;
    outcome {{ this.schema }}.bybit_book_step;
    own_side numeric := (account -> (own / 2))::numeric;
    other_side numeric := (account -> (other / 2))::numeric;
    is_hedge boolean;
    exchange_takes numeric;
    holding jsonb;
    holder text;
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

    is_hedge := (account -> 2)::numeric = 1
        or may_hedge and exchange_closed = 0 and other_side > 0 and not only_closes;
    outcome.position_mode := case when is_hedge then 'hedge' else 'one_way' end;

    if linked_bot is not null then
        outcome.bot_id := linked_bot;
        outcome.attributed_by := 'link_id';
    elsif exchange_closed = 0 then
        outcome.bot_id := 'unassigned';
        outcome.attributed_by := 'no_position';
    else
        select
            case when count(*) = 1 then min(key) else 'unassigned' end,
            case count(*) when 0 then 'no_position' when 1 then 'open_position' else 'several_positions' end,
            coalesce(sum((value -> other)::numeric - (value -> (other + 1))::numeric), 0)
        into outcome.bot_id, outcome.attributed_by, reducible
        from jsonb_each(book)
        where key <> '' and (value -> other)::numeric > (value -> (other + 1))::numeric;
    end if;

    holding := coalesce(book -> outcome.bot_id, '[0, 0, 0, 0]');
    outcome.closed := least(
        amount,
        (holding -> other)::numeric - (holding -> (other + 1))::numeric,
        case when is_hedge or linked_bot is null then exchange_closed end
    );
    rest := amount - outcome.closed;
    if outcome.closed > 0 then
        outcome.closed_from := (holding -> (other + 1))::numeric;
        holding := jsonb_set(holding, array[(other + 1)::text], to_jsonb(outcome.closed_from + outcome.closed));
    end if;

    -- What closes something that is not known to be open stays unmatched, and opens nothing.
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
    end if;

    if outcome.closed > 0 then
        book := jsonb_set(book, array[outcome.bot_id], holding);
    end if;
    if outcome.opened > 0 then
        holder := case when linked_bot is null then 'unassigned' else outcome.bot_id end;
        holding := coalesce(book -> holder, '[0, 0, 0, 0]');
        outcome.opened_by := holder;
        outcome.opened_from := (holding -> own)::numeric;
        book := jsonb_set(
            book, array[holder], jsonb_set(holding, array[own::text], to_jsonb(outcome.opened_from + outcome.opened))
        );
    end if;

    -- The account as a whole: what is known of it to be closed, and what the exchange says beyond that.
    exchange_takes := least(amount, coalesce(exchange_closed, other_side));
    outcome.account_closed := case
        when is_hedge then exchange_takes
        else greatest(least(amount, other_side), exchange_takes)
    end;
    if not is_hedge and exchange_takes > 0 then
        own_side := 0;
    end if;
    if not only_closes then
        own_side := own_side + amount - exchange_takes;
    end if;
    other_side := case
        when not is_hedge and amount > exchange_takes then 0
        else greatest(0, other_side - exchange_takes)
    end;
    outcome.book := jsonb_set(
        book,
        '{""}',
        case
            when own = 0 then jsonb_build_array(own_side, other_side, (is_hedge and own_side + other_side > 0)::integer)
            else jsonb_build_array(other_side, own_side, (is_hedge and own_side + other_side > 0)::integer)
        end
    );
    return outcome;
end
