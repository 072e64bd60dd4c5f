-- What other services say: copies by their feeds.

create table teams (
    account_id       uuid    not null,
    id               uuid    not null,
    -- The most OPEN conversations of this team that one agent gets automatically; 0: no limit.
    assignment_limit integer not null check (assignment_limit >= 0),
    -- diwan.team.v1.VisibilityLevel, 1 to 4.
    visibility       smallint not null check (visibility between 1 and 4),
    wide_team_ids    uuid[]  not null,
    fallback         boolean not null,
    -- Of the team service; an older event changes nothing.
    version          bigint  not null,
    primary key (account_id, id)
);
create index teams_fallback on teams (account_id) where fallback;

create table users (
    account_id uuid     not null,
    id         uuid     not null,
    -- diwan.access.v1.Role, 1 to 3.
    role       smallint not null,
    active     boolean  not null,
    -- Of the identity service; an older event changes nothing.
    version    bigint   not null,
    primary key (account_id, id)
);

-- One row for each agent and team: whether he is a member, and what he holds there. Every transition changes open_count in
-- its own transaction under this row's lock. A row stays when its agent leaves the team.
create table slots (
    account_id         uuid        not null,
    team_id            uuid        not null,
    user_id            uuid        not null,
    member             boolean     not null,
    -- Of the membership, by the team service; 0: never a member.
    membership_version bigint      not null default 0,
    -- OPEN conversations of the team that he holds.
    open_count         integer     not null default 0 constraint slots_open_count check (open_count >= 0),
    -- Automatic assignments, as fairness counts them: whoever becomes eligible starts at the minimum of the others.
    automatic_count    bigint      not null default 0 constraint slots_automatic_count check (automatic_count >= 0),
    last_assigned_at   timestamptz,
    primary key (account_id, team_id, user_id)
);
create index slots_of_user on slots (account_id, user_id, team_id);

-- Who is there.

create table presence (
    account_id uuid        not null,
    user_id    uuid        not null,
    state      text        not null check (state in ('ACTIVE', 'WATCHING', 'OFFLINE')),
    since      timestamptz not null,
    version    bigint      not null,
    primary key (account_id, user_id)
);
create index presence_online on presence (account_id, user_id) where state <> 'OFFLINE';

-- Open streams, and those that ended within the grace period.
create table live_sessions (
    account_id  uuid        not null,
    id          uuid        not null,
    user_id     uuid        not null,
    -- Extended while the stream is open; the time of its end after it.
    lease_until timestamptz not null,
    primary key (account_id, id)
);
create index live_sessions_of_user on live_sessions (account_id, user_id, lease_until);

-- Conversations.

create table contacts (
    account_id uuid        not null,
    id         uuid        not null,
    name       text        not null,
    email      text        not null,
    -- The address in the form that is compared; null where a broken mail gave none.
    email_key  text,
    created_at timestamptz not null,
    primary key (account_id, id)
);
create unique index contacts_email on contacts (account_id, email_key);

create table conversations (
    account_id      uuid        not null,
    id              uuid        not null,
    team_id         uuid        not null,
    contact_id      uuid        not null,
    state           text        not null check (state in ('BOT', 'QUEUED', 'OPEN', 'SNOOZED', 'CLOSED')),
    holder_id       uuid,
    last_holder_id  uuid,
    subject         text        not null,
    mailbox_id      uuid,
    mailbox_address text        not null,
    version         bigint      not null,
    created_at      timestamptz not null,
    queued_at       timestamptz,
    assigned_at     timestamptz,
    closed_at       timestamptz,
    last_message_at timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, contact_id) references contacts (account_id, id),
    constraint conversations_holder check ((holder_id is not null) = (state in ('OPEN', 'SNOOZED'))),
    constraint conversations_queued_at check ((queued_at is not null) = (state = 'QUEUED')),
    constraint conversations_closed_at check ((closed_at is not null) = (state = 'CLOSED')),
    constraint conversations_last_holder check (holder_id is null or last_holder_id = holder_id)
);
create index conversations_queue on conversations (account_id, team_id, queued_at, id) where state = 'QUEUED';
create index conversations_held on conversations (account_id, holder_id, team_id) where holder_id is not null;
create index conversations_by_age on conversations (account_id, created_at, id);

create table messages (
    account_id      uuid        not null,
    -- Of an incoming one, its id in the mailbox service: the key under which it is stored once.
    id              uuid        not null,
    conversation_id uuid        not null,
    direction       text        not null check (direction in ('IN', 'OUT')),
    author_id       uuid,
    text            text        not null,
    subject         text        not null,
    rfc_message_id  text        not null,
    -- In-Reply-To and References of an incoming one, oldest first.
    rfc_references  text[]      not null,
    attachments     jsonb       not null,
    delivery        text        check (delivery in ('PENDING', 'SENT', 'FAILED', 'UNKNOWN')),
    delivery_error  text        not null default '',
    broken          boolean     not null default false,
    created_at      timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, conversation_id) references conversations (account_id, id),
    constraint messages_delivery check ((delivery is not null) = (direction = 'OUT'))
);
create index messages_of_conversation on messages (account_id, conversation_id, created_at, id);
-- Threading: which conversation a Message-ID belongs to. Hashed, because a broken one can be longer than an index entry.
create index messages_by_rfc_id on messages (account_id, md5(rfc_message_id)) where rfc_message_id <> '';

-- Messages that the mailbox service has not accepted yet.
create table sends (
    account_id uuid        not null,
    message_id uuid        not null,
    attempts   integer     not null default 0,
    -- When it is due. Whoever tries it moves this ahead first, so that nobody else does.
    due_at     timestamptz not null,
    primary key (account_id, message_id),
    foreign key (account_id, message_id) references messages (account_id, id)
);
create index sends_due on sends (due_at);

-- What the routing decided and from what: one row for each batch. See domain::routing.
create table decisions (
    account_id   uuid        not null,
    id           uuid        not null,
    team_id      uuid        not null,
    team_version bigint      not null,
    decided_at   timestamptz not null,
    ledger       jsonb       not null,
    primary key (account_id, id)
);
create index decisions_by_age on decisions (account_id, team_id, decided_at);

-- Every change of state, team or holder, in the transaction that made it. Never changed.
create table transitions (
    account_id      uuid        not null,
    conversation_id uuid        not null,
    version         bigint      not null,
    at              timestamptz not null,
    cause           text        not null,
    actor_id        uuid,
    from_state      text,
    to_state        text        not null,
    from_holder_id  uuid,
    to_holder_id    uuid,
    team_id         uuid        not null,
    over_limit      boolean     not null,
    decision_id     uuid,
    primary key (account_id, conversation_id, version),
    foreign key (account_id, conversation_id) references conversations (account_id, id)
);

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

-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);
