-- What is kept of an account is deleted after its end.

-- Accounts whose data is deleted, for ever: what comes late of one is found and deleted as well. See diwan_account_data::deletion.
create table account_deletions (
    account_id  uuid        primary key,
    -- When to look for data of it. Who looks has moved this ahead.
    due_at      timestamptz not null,
    -- When nothing was left for the first time.
    finished_at timestamptz
);
create index account_deletions_due on account_deletions (due_at);
