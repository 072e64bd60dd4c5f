-- What guards passwords, gives new ones, and shows people their sessions.

-- Failed tries, so that every replica slows down whoever guesses. See throttle.rs.
create table failures (
    -- What is counted; each has its own keys.
    counter      text        not null,
    -- SHA-256 of an address, a user or a network: one that nobody has is counted like any other.
    key          bytea       not null check (octet_length(key) = 32),
    recent       integer     not null,
    window_began timestamptz not null,
    in_a_row     integer     not null,
    closed_until timestamptz not null,
    primary key (counter, key)
);
create index failures_by_age on failures (greatest(window_began, closed_until));

-- Who may set a new password without the old one: a row for each e-mail. All of a user's go when one is used, and when the
-- password is changed otherwise.
create table password_resets (
    account_id uuid        not null,
    user_id    uuid        not null,
    -- SHA-256 of the token that the e-mail carries.
    token_hash bytea       not null,
    expires_at timestamptz not null,
    primary key (account_id, user_id, token_hash),
    foreign key (account_id, user_id) references users (account_id, id)
);
create index password_resets_by_expiry on password_resets (expires_at);

alter table sessions
    -- When a refresh token was last exchanged, and where that came from; null where it did not come through the gateway.
    add column last_used_at timestamptz,
    add column address      inet,
    add column user_agent   text not null default '';
update sessions set last_used_at = created_at;
alter table sessions alter column last_used_at set not null;
