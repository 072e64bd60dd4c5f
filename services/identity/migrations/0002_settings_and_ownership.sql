-- Settings of an account, the confirmation of its owner's address, the hand-over of its ownership, and invitations that free
-- their address.

alter table accounts
    add column show_agent_name    boolean not null default false,
    -- When the owner's address was confirmed; null until it is.
    add column email_confirmed_at timestamptz,
    add column version            bigint  not null default 1;

-- The link that confirms the address of an account's owner. Stays when it was used, so that it can be opened again.
create table email_confirmations (
    account_id   uuid        primary key references accounts,
    user_id      uuid        not null,
    -- Rises with every new link, so that an e-mail which is made for an older one is not sent.
    round        bigint      not null default 0,
    -- SHA-256 of each token that an e-mail carries.
    token_hashes bytea[]     not null default '{}',
    expires_at   timestamptz not null,
    foreign key (account_id, user_id) references users (account_id, id)
);

-- Rises with every renewal and correction.
alter table invitations add column round bigint not null default 0;

-- Open offers, one an account. Who changes a role locks the user before the offer.
create table ownership_offers (
    account_id uuid        primary key references accounts,
    owner_id   uuid        not null,
    user_id    uuid        not null check (user_id <> owner_id),
    expires_at timestamptz not null,
    foreign key (account_id, owner_id) references users (account_id, id),
    foreign key (account_id, user_id) references users (account_id, id)
);

-- Open invitations, listed by the time the users were added and looked through for those that have expired.
create index users_invited on users (account_id, created_at, id) where state = 'USER_STATE_INVITED';

-- Invitations that were withdrawn before they freed their address.
delete from email_addresses e using users u
where u.account_id = e.account_id and u.id = e.user_id and u.state = 'USER_STATE_DEACTIVATED' and u.password_hash is null;
