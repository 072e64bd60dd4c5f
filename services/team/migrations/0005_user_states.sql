-- Who of the users is deactivated, as identity says: he joins no further team.
create table user_states (
    account_id  uuid    not null,
    user_id     uuid    not null,
    -- Whether he is deactivated; who is invited only is not.
    deactivated boolean not null,
    -- Of the identity service; an older event changes nothing.
    version     bigint  not null,
    primary key (account_id, user_id)
);
