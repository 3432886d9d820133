{#
    Who holds what, fill by fill. The one rule of the trades that needs its own outcome of the fill before: whose
    position a fill without a client order id reduces depends on all positions at that moment. As an aggregate over a
    window it reads each fill once. This is its next step, in plpgsql: what a fill does to the book that `step` left.
    macros/materializations/postgres__aggregate_function_sql.sql makes the aggregate of it.

    A book is {holder: [opened, closed, direction]}: all that holder ever opened and closed in one symbol, and the
    direction (1 long, -1 short) of what is open, which is opened - closed.
#}
declare
    book jsonb := coalesce(step.book, opening_book, '{}');
    direction constant numeric := sign(quantity);
    outcome {{ this.schema }}.bybit_book_step;
    holding jsonb;
    reducible numeric := 0;
    rest numeric;
begin
    outcome.book := book;
    outcome.closed := 0;
    outcome.unmatched := 0;
    outcome.opened := 0;
    if direction = 0 then
        return outcome;
    end if;

    if linked_bot is not null then
        outcome.bot_id := linked_bot;
        outcome.attributed_by := 'link_id';
    else
        select
            case when count(*) = 1 then min(key) else 'unassigned' end,
            case count(*) when 0 then 'no_position' when 1 then 'open_position' else 'several_positions' end,
            coalesce(sum((value -> 0)::numeric - (value -> 1)::numeric), 0)
        into outcome.bot_id, outcome.attributed_by, reducible
        from jsonb_each(book)
        where (value -> 2)::numeric = -direction and (value -> 0)::numeric > (value -> 1)::numeric;
    end if;

    holding := coalesce(book -> outcome.bot_id, '[0, 0, 0]');
    if (holding -> 2)::numeric = -direction then
        outcome.closed := least(abs(quantity), (holding -> 0)::numeric - (holding -> 1)::numeric);
    end if;
    rest := abs(quantity) - outcome.closed;
    if outcome.closed > 0 then
        outcome.closed_from := (holding -> 1)::numeric;
        holding := jsonb_build_array(holding -> 0, outcome.closed_from + outcome.closed, holding -> 2);
    end if;

    -- What closes something that is not known to be open stays unmatched, and opens nothing.
    if rest > 0 then
        if only_closes then
            outcome.unmatched := rest;
        elsif linked_bot is null then
            outcome.unmatched := least(rest, greatest(0, coalesce(exchange_closed, reducible) - outcome.closed));
        elsif exchange_closed > outcome.closed then
            -- the exchange nets the bots' positions: the fill may have closed another bot's, to open its own
            select greatest(0, -direction * sum(
                ((value -> 0)::numeric - (value -> 1)::numeric) * (value -> 2)::numeric
            ))
            into reducible
            from jsonb_each(book);
            outcome.unmatched := least(rest, greatest(0, exchange_closed - greatest(outcome.closed, reducible)));
        end if;
        outcome.opened := rest - outcome.unmatched;
    end if;

    if outcome.closed > 0 then
        outcome.book := jsonb_set(outcome.book, array[outcome.bot_id], holding);
    end if;
    if outcome.opened > 0 then
        outcome.opened_by := case when linked_bot is null then 'unassigned' else outcome.bot_id end;
        holding := coalesce(outcome.book -> outcome.opened_by, '[0, 0, 0]');
        outcome.opened_from := (holding -> 0)::numeric;
        outcome.book := jsonb_set(
            outcome.book,
            array[outcome.opened_by],
            jsonb_build_array(outcome.opened_from + outcome.opened, holding -> 1, direction)
        );
    end if;
    return outcome;
end
