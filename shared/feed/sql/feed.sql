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
    -- Who made the change, and from where: an encoded diwan.audit.v1.Origin.
    origin         bytea       not null default '',
    occurred_at    timestamptz not null,
    primary key (account_id, xid, seq)
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
