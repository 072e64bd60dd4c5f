-- Accounts, their users, sign-in, and what identity owes to other services.

-- One company each.
create table accounts (
    account_id uuid        primary key,
    name       text        not null,
    time_zone  text        not null,
    language   text        not null check (language in ('ar', 'en', 'es', 'pt')),
    -- Rises when every token of the account is revoked.
    epoch      bigint      not null default 0,
    created_at timestamptz not null
);

-- Roles, grants and states are the value names of the .proto enums.
create table users (
    account_id    uuid        not null references accounts,
    id            uuid        not null,
    name          text        not null,
    -- As it was entered; what counts is email_addresses.
    email         text        not null,
    role          text        not null check (role in ('ROLE_OWNER', 'ROLE_ADMIN', 'ROLE_USER')),
    grants        text[]      not null,
    language      text        not null check (language in ('ar', 'en', 'es', 'pt')),
    state         text        not null,
    -- An argon2id hash in PHC format; null until the first password is set.
    password_hash text,
    -- Rises when every token of the user is revoked.
    epoch         bigint      not null default 0,
    version       bigint      not null default 1,
    created_at    timestamptz not null,
    primary key (account_id, id),
    constraint users_state check (
        (state = 'USER_STATE_INVITED' and password_hash is null)
        or (state = 'USER_STATE_ACTIVE' and password_hash is not null)
        or state = 'USER_STATE_DEACTIVATED'),
    constraint users_owner_is_active check (role <> 'ROLE_OWNER' or state = 'USER_STATE_ACTIVE')
);
create unique index users_one_owner on users (account_id) where role = 'ROLE_OWNER';
create index users_by_time on users (account_id, created_at, id);

-- Whose an address is, asked before the account is known: an address belongs to one account of the installation.
create table email_addresses (
    -- In lower case.
    email_key  text primary key,
    account_id uuid not null,
    user_id    uuid not null
);

-- What an invited user gets when he accepts. The row goes when he has.
create table invitations (
    account_id   uuid        not null,
    user_id      uuid        not null,
    team_ids     uuid[]      not null check (cardinality(team_ids) > 0),
    -- SHA-256 of each token that an e-mail carries: every try to send makes a new one, so that none is stored to be sent again.
    token_hashes bytea[]     not null default '{}',
    expires_at   timestamptz not null,
    primary key (account_id, user_id),
    foreign key (account_id, user_id) references users (account_id, id)
);

create table sessions (
    account_id    uuid        not null,
    id            uuid        not null,
    user_id       uuid        not null,
    -- Rises when every token of the session is revoked.
    epoch         bigint      not null default 0,
    -- SHA-256 of the half that every refresh token of the session shares.
    family_hash   bytea       not null,
    -- SHA-256 of the other half of the newest refresh token, and of the one that it was given for.
    current_hash  bytea       not null,
    previous_hash bytea,
    created_at    timestamptz not null,
    expires_at    timestamptz not null,
    ended_at      timestamptz,
    primary key (account_id, id),
    foreign key (account_id, user_id) references users (account_id, id)
);
create index sessions_of_user on sessions (account_id, user_id) where ended_at is null;
create index sessions_by_expiry on sessions (expires_at);

-- Tokens of the subject with a lower epoch are refused. Kept a little longer than a token lives.
create table revocations (
    account_id uuid        not null,
    id         uuid        not null,
    subject    text        not null
        check (subject in ('REVOCATION_SUBJECT_ACCOUNT', 'REVOCATION_SUBJECT_USER', 'REVOCATION_SUBJECT_SESSION')),
    subject_id uuid        not null,
    epoch      bigint      not null,
    at         timestamptz not null,
    -- Tells the reader what it cannot have seen yet. See worker/revocations.rs.
    xid        xid8        not null default pg_current_xact_id(),
    primary key (account_id, id)
);
create index revocations_by_transaction on revocations (xid);
create index revocations_by_age on revocations (at);

-- What is still to be done elsewhere, queued by the transaction that makes it due. See effects.rs.
create table jobs (
    account_id      uuid        not null,
    id              uuid        not null,
    payload         jsonb       not null,
    kind            text        not null generated always as (payload ->> 'kind') stored,
    -- Who works on a job has moved this ahead: his lease.
    next_attempt_at timestamptz not null,
    attempts        integer     not null default 0,
    last_error      text,
    created_at      timestamptz not null,
    primary key (account_id, id)
);
create index jobs_due on jobs (next_attempt_at);

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

-- The outbox: each change leaves an event here in its own transaction. See diwan_feed.
create table feed_events (
    account_id     uuid        not null,
    seq            bigint      not null generated always as identity,
    -- Orders the events together with seq: numbers of transactions that have all ended never rise again.
    xid            xid8        not null default pg_current_xact_id(),
    entity_id      uuid        not null,
    entity_version bigint      not null,
    -- The full name of the payload's message.
    kind           text        not null,
    -- A response of the feed must stay below gRPC's usual limit of 4 MiB.
    payload        bytea       not null constraint feed_payload_fits check (octet_length(payload) <= 1048576),
    traceparent    text        not null,
    occurred_at    timestamptz not null,
    primary key (account_id, seq)
);
create index feed_events_in_order on feed_events (xid, seq);

-- The server and database that this is: another one after a restore from a logical copy.
create function feed_origin() returns text stable language sql as $$
    select system_identifier || '/' || (select oid from pg_database where datname = current_database())
    from pg_control_system()
$$;

-- One row: which life of the database this is, and the last event that is no longer kept.
create table feed_generation (
    only_row   boolean primary key default true check (only_row),
    generation bigint  not null,
    origin     text    not null,
    purged_xid xid8    not null default '0',
    purged_seq bigint  not null default 0
);
