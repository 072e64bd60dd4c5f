-- The keys that sign users' access tokens, and operators' tokens that are refused. Both belong to the installation, to no account.

-- Whoever changes a row holds the table's lock (share row exclusive), so that of all replicas one makes the next key.
create table signing_keys (
    -- The first 8 bytes of the public key's SHA-256, in hexadecimal.
    key_id       text        primary key check (key_id ~ '^[0-9a-f]{16}$'),
    public_key   bytea       not null check (octet_length(public_key) = 32),
    -- PKCS#8, encrypted by the vault; null once it signs nothing any more.
    sealed       bytea,
    published_at timestamptz not null,
    -- Of the keys that may sign, the one with the latest of these times that has passed does.
    signs_from   timestamptz not null check (signs_from >= published_at),
    -- When it left the set: because its last token has expired, or because an operator withdrew it.
    expired_at   timestamptz,
    withdrawn_at timestamptz,
    reason       text        not null default '',
    check ((sealed is null) = (expired_at is not null or withdrawn_at is not null))
);
create unique index signing_keys_in_order on signing_keys (signs_from) where sealed is not null;

create table operator_revocations (
    id           uuid        primary key,
    -- One token, or those of one operator that were issued until then.
    token_id     uuid        unique,
    operator     text,
    issued_until timestamptz not null,
    reason       text        not null,
    revoked_at   timestamptz not null,
    revoked_by   text        not null,
    check ((token_id is null) <> (operator is null))
);
create index operator_revocations_by_time on operator_revocations (revoked_at, id);
