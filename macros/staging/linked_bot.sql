{#
    A query of the bot that a client order id names, and of the reason it gives: the longest bot id that it begins with,
    then the reason without the time. The time is what follows a second ':', or nine digits and more. Of an id that was
    cut at Bybit's 36 characters, it is any digits at the end. `reason` is NULL where nothing is left.

    Where the bot's row lists its reasons, separated by blanks, the reason is the longest of these that it begins with:
    `tp-42` is `tp`.
#}
{% macro linked_bot(bots, client_order_id) %}
        select
            bots.bot_id,
            coalesce(
                (
                    select listed
                    from string_to_table(bots.reasons, ' ') as listed
                    where listed <> ''
                        and starts_with(given.reason, listed)
                        and substr(given.reason, length(listed) + 1, 1) in ('', ':', '-', '_')
                    order by length(listed) desc
                    limit 1
                ),
                given.reason
            ) as reason
        from {{ bots }} as bots
        cross join lateral (
            select
                nullif(
                    case
                        when substr({{ client_order_id }}, length(bots.bot_id) + 1, 1) = ':'
                            then split_part(substr({{ client_order_id }}, length(bots.bot_id) + 2), ':', 1)
                        else regexp_replace(
                            substr({{ client_order_id }}, length(bots.bot_id) + 2),
                            case
                                when length({{ client_order_id }}) >= 36 then '(^|[:_-])[0-9]*$'
                                else '(^|[:_-])([0-9]{9,})?$'
                            end,
                            ''
                        )
                    end,
                    ''
                ) as reason
            limit 1
        ) as given
        where {{ client_order_id }} = bots.bot_id
            or (
                starts_with({{ client_order_id }}, bots.bot_id)
                and substr({{ client_order_id }}, length(bots.bot_id) + 1, 1) in (':', '-', '_')
            )
        order by length(bots.bot_id) desc
        limit 1
{%- endmacro %}
