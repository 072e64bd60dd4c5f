-- Mailboxes whose credentials the mail server refuses, and whether identity has been asked to tell their people. A row from the first refusal
-- until the mailbox is in sync again: they are told once, however often it is tried meanwhile.
create table credential_alerts (
    account_id uuid    not null,
    mailbox_id uuid    not null,
    -- Under this id identity is asked, however often that takes.
    id         uuid    not null,
    told       boolean not null default false,
    primary key (account_id, mailbox_id),
    foreign key (account_id, mailbox_id) references mailboxes (account_id, id)
);
