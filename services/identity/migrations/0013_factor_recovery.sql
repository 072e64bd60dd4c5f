-- Recoveries of second factors that operators have begun, one a user at most. The row goes when it ends, however it ends.
create table factor_recoveries (
    account_id uuid        not null,
    user_id    uuid        not null,
    id         uuid        not null,
    -- What the operator said, and who he was.
    reason     text        not null,
    begun_by   text        not null,
    begun_at   timestamptz not null,
    -- When the factors go.
    due_at     timestamptz not null check (due_at > begun_at),
    primary key (account_id, user_id),
    foreign key (account_id, user_id) references users (account_id, id)
);
