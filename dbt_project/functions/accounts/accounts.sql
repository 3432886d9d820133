with

open_positions as (
    select
        account_id,
        json_agg(
            to_jsonb(trades) || jsonb_build_object(
                'open_time', {{ iso_text('open_time') }},
                'close_time', {{ iso_text('close_time') }},
                'synced_at', {{ iso_text('synced_at') }}
            ) order by open_time desc, ticket asc
        ) as answer
    from {{ all_rows_of(ref('trades')) }} as trades
    where status <> 'closed'
    group by account_id
),

accounts as (
    select
        trading_accounts.account_id,
        to_jsonb(trading_accounts) || jsonb_build_object(
            'last_sync_at', {{ iso_text('trading_accounts.last_sync_at') }},
            'last_successful_sync_at', {{ iso_text('trading_accounts.last_successful_sync_at') }},
            'synced_at', {{ iso_text('trading_accounts.synced_at') }},
            'success_rate_pct', rates.success_rate_pct,
            'positions', coalesce(open_positions.answer, '[]')
        ) as answer
    from {{ all_rows_of(ref('trading_accounts')) }} as trading_accounts
    left join {{ all_rows_of(ref('account_success_rates')) }} as rates on trading_accounts.account_id = rates.account_id
    left join open_positions on trading_accounts.account_id = open_positions.account_id
)

select
    json_build_object(
        'success', true,
        'total_count', count(*),
        'accounts', coalesce(json_agg(answer order by account_id), '[]'),
        'failures', (
            select
                coalesce(
                    json_agg(
                        to_jsonb(failures)
                        || jsonb_build_object('last_failure_at', {{ iso_text('last_failure_at') }})
                        order by account_id
                    ),
                    '[]'
                )
            from {{ all_rows_of(ref('recent_failures')) }} as failures
        )
    )
from accounts
