-- Second factors, the challenges that ask for them, and the devices that spare them.

-- What a user has beside his password. Whoever changes factors or devices locks this row first.
create table second_factors (
    account_id     uuid        not null,
    user_id        uuid        not null,
    -- Of his authenticator, sealed by the vault; null without one.
    totp_secret    bytea,
    -- The last step of 30 seconds whose code was taken: none of it or of one before is taken again.
    totp_last_step bigint,
    -- Of one that is to be confirmed.
    pending_secret bytea,
    pending_until  timestamptz,
    -- Whether codes to his WhatsApp number are a factor.
    whatsapp       boolean     not null default false,
    version        bigint      not null default 0,
    primary key (account_id, user_id),
    foreign key (account_id, user_id) references users (account_id, id),
    check ((totp_secret is null) = (totp_last_step is null)),
    check ((pending_secret is null) = (pending_until is null))
);

-- A used one goes.
create table recovery_codes (
    account_id uuid  not null,
    user_id    uuid  not null,
    -- SHA-256 of user and code, which has 80 random bits.
    code_hash  bytea not null check (octet_length(code_hash) = 32),
    primary key (account_id, user_id, code_hash),
    foreign key (account_id, user_id) references users (account_id, id)
);

-- Codes of six digits that were sent to somebody. See codes.rs.
create table one_time_codes (
    account_id uuid        not null,
    -- What the code is for, and the request that it was sent for.
    purpose    text        not null,
    request_id uuid        not null,
    -- SHA-256 of all that and the code.
    code_hash  bytea       not null check (octet_length(code_hash) = 32),
    tries      integer     not null default 0,
    expires_at timestamptz not null,
    primary key (account_id, purpose, request_id)
);
create index one_time_codes_by_expiry on one_time_codes (expires_at);

-- Sign-ins whose password was right, and which wait for a second factor. The row goes with its answer.
create table sign_in_challenges (
    account_id  uuid        not null,
    id          uuid        not null,
    user_id     uuid        not null,
    -- SHA-256 of the token that its client has.
    secret_hash bytea       not null check (octet_length(secret_hash) = 32),
    tries       integer     not null default 0,
    expires_at  timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, user_id) references users (account_id, id)
);
create index sign_in_challenges_of_user on sign_in_challenges (account_id, user_id);
create index sign_in_challenges_by_expiry on sign_in_challenges (expires_at);

create table trusted_devices (
    account_id   uuid        not null,
    id           uuid        not null,
    user_id      uuid        not null,
    -- SHA-256 of the token that the device has.
    secret_hash  bytea       not null check (octet_length(secret_hash) = 32),
    user_agent   text        not null,
    address      inet,
    trusted_at   timestamptz not null,
    last_used_at timestamptz not null,
    expires_at   timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, user_id) references users (account_id, id)
);
create index trusted_devices_of_user on trusted_devices (account_id, user_id, trusted_at);
create index trusted_devices_by_expiry on trusted_devices (expires_at);

-- Whether an account demands a second factor from everyone; without a row it does not.
create table second_factor_policies (
    account_id uuid    primary key references accounts,
    demanded   boolean not null default false,
    version    bigint  not null default 0
);
