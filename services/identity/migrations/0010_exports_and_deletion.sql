-- An owner takes his data with him, and what is kept of a closed account is deleted.

-- Accounts whose data is deleted, for ever: what comes late of one is found and deleted as well. See diwan_account_data::deletion.
create table account_deletions (
    account_id  uuid        primary key,
    -- When to look for data of it. Who looks has moved this ahead.
    due_at      timestamptz not null,
    -- When nothing was left for the first time.
    finished_at timestamptz
);
create index account_deletions_due on account_deletions (due_at);

-- When the data of a closed account is deleted.
alter table accounts add column delete_at timestamptz;
update accounts set delete_at = now() + interval '30 days' where state = 'ACCOUNT_STATE_CLOSED';
alter table accounts add constraint accounts_delete_at check ((delete_at is not null) = (state = 'ACCOUNT_STATE_CLOSED'));
create index accounts_to_delete on accounts (delete_at) where delete_at is not null;

-- The part of the blob store that this picture has for itself; null: its blobs are kept as earlier versions kept them.
alter table users add column picture_id uuid;
alter table users add constraint users_picture_id check (picture_id is null or picture_large is not null);

-- What owners asked to have. One at a time is GATHERING or READY; what is GONE is being deleted. See worker/exporter.rs.
create table exports (
    account_id      uuid        not null,
    id              uuid        not null,
    state           text        not null check (state in ('GATHERING', 'READY', 'GONE')),
    -- Pieces so far; those that come next are counted on from here.
    pieces          bigint      not null default 0,
    -- How long the archive is, and its first file.
    size            bigint,
    manifest        text,
    started_at      timestamptz not null,
    ready_at        timestamptz,
    expires_at      timestamptz,
    -- Who works on it has moved this ahead: his lease.
    next_attempt_at timestamptz not null,
    primary key (account_id, id),
    constraint exports_ready check (
        state <> 'READY' or (size is not null and manifest is not null and ready_at is not null and expires_at is not null))
);
create unique index exports_one on exports (account_id) where state <> 'GONE';
create index exports_due on exports (next_attempt_at) where state <> 'READY';
create index exports_by_expiry on exports (expires_at) where state = 'READY';

-- What each service gives, in this order.
create table export_parts (
    account_id uuid    not null,
    export_id  uuid    not null,
    position   integer not null,
    service    text    not null,
    -- Where to go on; null: everything of it is there.
    cursor     text,
    rows       bigint  not null default 0,
    bytes      bigint  not null default 0,
    primary key (account_id, export_id, position),
    foreign key (account_id, export_id) references exports (account_id, id)
);

-- The files of the archive; number is that of the first piece.
create table export_files (
    account_id uuid   not null,
    export_id  uuid   not null,
    number     bigint not null,
    -- <service>/<file>
    path       text   not null check (octet_length(path) between 1 and 100),
    rows       bigint not null,
    bytes      bigint not null,
    primary key (account_id, export_id, number),
    foreign key (account_id, export_id) references exports (account_id, id)
);

-- What they are made of: bytes of a blob, in the order of the numbers.
create table export_pieces (
    account_id uuid   not null,
    export_id  uuid   not null,
    number     bigint not null,
    blob       text   not null,
    start      bigint not null check (start >= 0),
    length     bigint not null check (length >= 0),
    primary key (account_id, export_id, number),
    foreign key (account_id, export_id) references exports (account_id, id)
);
