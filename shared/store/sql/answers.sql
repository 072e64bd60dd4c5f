-- Answers to requests that changed something, kept so that a retry gets the first one. See diwan_store::answers.
create table answers (
    account_id uuid        not null,
    request_id text        not null,
    method     text        not null,
    digest     bytea       not null,
    -- The encoded answer; empty until the transaction that claims the request has one.
    answer     bytea       not null,
    created_at timestamptz not null,
    primary key (account_id, request_id)
);
create index answers_by_age on answers (created_at);
