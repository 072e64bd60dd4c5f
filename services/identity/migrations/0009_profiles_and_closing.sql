-- What a person says of himself, and the end of an account.

alter table users
    -- Both empty until he has set them himself; `name` is what others see in any case.
    add column first_name    text not null default '',
    add column last_name     text not null default '',
    -- SHA-256 of the picture's files in the object store.
    add column picture_large text,
    add column picture_small text,
    add constraint users_picture check ((picture_large is null) = (picture_small is null));

alter table accounts
    add column state      text not null default 'ACCOUNT_STATE_ACTIVE',
    -- When a closing account is closed for good, and when its owner is reminded; null once he has been.
    add column closes_at  timestamptz,
    add column remind_at  timestamptz,
    add constraint accounts_state check (
        (state = 'ACCOUNT_STATE_CLOSING' and closes_at is not null)
        or (state in ('ACCOUNT_STATE_ACTIVE', 'ACCOUNT_STATE_CLOSED') and closes_at is null and remind_at is null));
create index accounts_closing on accounts (closes_at) where state = 'ACCOUNT_STATE_CLOSING';
create index accounts_to_remind on accounts (remind_at) where remind_at is not null;
-- For the end of an account, which frees all its addresses.
create index email_addresses_of_account on email_addresses (account_id);
