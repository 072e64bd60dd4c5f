-- Service principals: how other systems use Diwan.

-- One belongs to an account, or to the installation: then its account is the nil one.
create table service_principals (
    account_id   uuid        not null,
    id           uuid        not null,
    name         text        not null,
    -- Full names of gRPC services and methods.
    scopes       text[]      not null check (cardinality(scopes) > 0),
    -- What one of the installation is for.
    account_ids  uuid[]      not null,
    all_accounts boolean     not null,
    disabled_at  timestamptz,
    -- Rises when every token of the principal is revoked.
    epoch        bigint      not null default 0,
    version      bigint      not null default 1,
    created_at   timestamptz not null,
    primary key (account_id, id),
    constraint service_principals_for_their_own_account check (
        account_id = '00000000-0000-0000-0000-000000000000' or (account_ids = '{}' and not all_accounts))
);
create index service_principals_by_time on service_principals (account_id, created_at, id);

-- How a principal proves who it is: several, so that one follows another without a gap.
create table principal_credentials (
    account_id   uuid        not null,
    principal_id uuid        not null,
    -- Named by who presents the credential, before anything else is known.
    id           uuid        not null unique,
    -- An Ed25519 key (RFC 8032), or the SHA-256 of a secret of 256 random bits.
    public_key   bytea       check (octet_length(public_key) = 32),
    secret_hash  bytea       check (octet_length(secret_hash) = 32),
    secret_hint  text        not null,
    -- Rises when the tokens that were got for it are revoked.
    epoch        bigint      not null default 0,
    created_at   timestamptz not null,
    expires_at   timestamptz,
    primary key (account_id, principal_id, id),
    foreign key (account_id, principal_id) references service_principals (account_id, id),
    constraint principal_credentials_one_proof check ((public_key is null) <> (secret_hash is null))
);

-- The users for whom a principal may act.
create table acted_users (
    account_id      uuid not null,
    principal_id    uuid not null,
    user_account_id uuid not null,
    user_id         uuid not null,
    -- The user who said so; null for an operator.
    named_by        uuid,
    primary key (account_id, principal_id, user_account_id, user_id),
    foreign key (account_id, principal_id) references service_principals (account_id, id)
);

-- Assertions that have been taken, until they would have expired: each is taken once.
create table taken_assertions (
    credential_id uuid        not null,
    -- SHA-256 of its `jti`.
    jti_hash      bytea       not null check (octet_length(jti_hash) = 32),
    expires_at    timestamptz not null,
    primary key (credential_id, jti_hash)
);
create index taken_assertions_by_expiry on taken_assertions (expires_at);

alter table revocations
    drop constraint revocations_subject_check,
    add constraint revocations_subject check (subject in (
        'REVOCATION_SUBJECT_ACCOUNT', 'REVOCATION_SUBJECT_USER', 'REVOCATION_SUBJECT_SESSION',
        'REVOCATION_SUBJECT_PRINCIPAL', 'REVOCATION_SUBJECT_CREDENTIAL'));

-- The events of one account in their order, for those who follow only it: as in shared/feed/sql/feed.sql.
alter table feed_events drop constraint feed_events_pkey, add primary key (account_id, xid, seq);
