-- Groups of users who answer conversations.
create table teams (
    account_id       uuid        not null,
    id               uuid        not null,
    name             text        not null check (char_length(name) between 1 and 100),
    -- The name as it is compared and sorted, which must not depend on the locale of the server.
    name_key         text        not null collate "C",
    -- 0: no limit.
    assignment_limit integer     not null check (assignment_limit between 0 and 10000),
    topic_mandatory  boolean     not null,
    visibility_level smallint    not null check (visibility_level between 1 and 4),
    fallback         boolean     not null,
    archived_at      timestamptz,
    version          bigint      not null,
    created_at       timestamptz not null,
    primary key (account_id, id),
    constraint teams_fallback_is_active check (not fallback or archived_at is null)
);
create unique index teams_one_fallback on teams (account_id) where fallback;
create unique index teams_active_name on teams (account_id, name_key) where archived_at is null;

-- The other teams that the members of a team with visibility level 4 see.
create table team_visible_teams (
    account_id      uuid not null,
    team_id         uuid not null,
    visible_team_id uuid not null,
    primary key (account_id, team_id, visible_team_id),
    foreign key (account_id, team_id) references teams,
    foreign key (account_id, visible_team_id) references teams,
    check (visible_team_id <> team_id)
);

-- The users who have ever become active. A row is the lock under which its user leaves teams.
create table members (
    account_id uuid        not null,
    user_id    uuid        not null,
    created_at timestamptz not null,
    primary key (account_id, user_id)
);

-- Who belongs to which team. The row stays when he leaves, so that its version goes on rising when he comes back.
create table memberships (
    account_id uuid        not null,
    team_id    uuid        not null,
    user_id    uuid        not null,
    -- Names the membership in the feed.
    id         uuid        not null,
    joined_at  timestamptz not null,
    -- Null: he is a member.
    left_at    timestamptz,
    version    bigint      not null,
    primary key (account_id, team_id, user_id),
    unique (account_id, id),
    foreign key (account_id, team_id) references teams,
    foreign key (account_id, user_id) references members
);
create index memberships_of_team on memberships (account_id, team_id, joined_at, user_id) where left_at is null;
create index memberships_of_user on memberships (account_id, user_id) where left_at is null;

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
