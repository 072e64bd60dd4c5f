-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table if not exists feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);

-- Accounts that are closed for good: their mailboxes are nobody's, and nothing of theirs is sent.
create table closed_accounts (
    account_id uuid        primary key,
    closed_at  timestamptz not null
);
