-- What an account pays for. Its row is the lock under which seats are counted and taken.
create table subscriptions (
    account_id    uuid        primary key,
    plan          text        not null,
    state         text        not null check (state in ('TRIAL')),
    seats         integer     not null default 5 check (seats between 5 and 100000),
    trial_ends_at timestamptz not null,
    version       bigint      not null,
    created_at    timestamptz not null
);

-- Who holds a seat. One whose lease has expired holds none any more; the next taker removes it.
create table seats (
    account_id       uuid        not null references subscriptions,
    user_id          uuid        not null,
    taken_at         timestamptz not null,
    -- Null: until it is released.
    lease_expires_at timestamptz,
    primary key (account_id, user_id)
);
create index seats_by_time on seats (account_id, taken_at, user_id);

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
