-- Who made the change, and from where: an encoded diwan.audit.v1.Origin. Empty in events of older versions.
alter table feed_events add column origin bytea not null default '';

-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);

-- What the feeds told, until it stands in a chain. A feed's transaction writes here without waiting for any account.
create table audit_inbox (
    arrival    bigint generated always as identity,
    account_id uuid   not null,
    -- SHA-256 of what makes the event this one: a replay brings it under the same.
    event_id   bytea  not null check (octet_length(event_id) = 32),
    -- The encoded entry, as the hash covers it.
    content    bytea  not null,
    primary key (account_id, event_id)
);
create index audit_inbox_in_order on audit_inbox (account_id, arrival);

-- The last entry of each account's chain. Whoever appends holds its row: one at a time, each after the one before.
create table audit_heads (
    account_id uuid   primary key,
    number     bigint not null default 0 check (number >= 0),
    hash       bytea  not null check (octet_length(hash) = 32),
    -- The last head that was told to the log stream.
    exported   bigint not null default 0 check (exported between 0 and number)
);
create index audit_heads_to_export on audit_heads (account_id) where exported < number;

-- The chains: numbered without a gap, each hash over the hash before and the content. Never changed, never deleted.
create table audit_entries (
    account_id     uuid        not null,
    number         bigint      not null check (number > 0),
    event_id       bytea       not null check (octet_length(event_id) = 32),
    hash           bytea       not null check (octet_length(hash) = 32),
    content        bytea       not null,
    -- Read from the content, to look for.
    occurred_at    timestamptz not null,
    actor          text        not null,
    acting_for     text        not null,
    method         text        not null,
    -- The method's own name, without its gRPC service.
    call           text        not null,
    entity_kind    text        not null,
    entity_id      uuid        not null,
    entity_version bigint      not null,
    primary key (account_id, number),
    unique (account_id, event_id)
);
create index audit_entries_of_entity on audit_entries (account_id, entity_id, entity_kind, entity_version, number);
create index audit_entries_of_actor on audit_entries (account_id, actor, number);
create index audit_entries_of_method on audit_entries (account_id, call, number);
create index audit_entries_in_time on audit_entries (account_id, occurred_at);
