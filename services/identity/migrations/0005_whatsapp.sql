-- The telephone numbers of people, and what is sent to them.

-- The personal WhatsApp number of a user: at most one that is his, and one that waits for its code. Who changes it has locked the user.
create table whatsapp_numbers (
    account_id      uuid        not null,
    user_id         uuid        not null,
    -- In E.164 form.
    number          text,
    confirmed_at    timestamptz,
    pending_number  text,
    -- What the code of the pending one is bound to.
    confirmation_id uuid,
    pending_until   timestamptz,
    primary key (account_id, user_id),
    foreign key (account_id, user_id) references users (account_id, id),
    check ((number is null) = (confirmed_at is null)),
    check ((pending_number is null) = (confirmation_id is null) and (pending_number is null) = (pending_until is null)),
    check (number is not null or pending_number is not null)
);
create index whatsapp_numbers_pending on whatsapp_numbers (pending_until) where pending_until is not null;

-- Whether a worker has begun with the job and has not said how it ended: what cannot be taken back may have happened.
alter table jobs add column begun boolean not null default false;
