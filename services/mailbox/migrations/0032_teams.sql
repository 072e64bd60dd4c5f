-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table if not exists feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);

-- Which teams are archived, as the team service says, and which one has taken the place of each.
create table teams (
    account_id   uuid   not null,
    id           uuid   not null,
    -- Null: it is active.
    receiving_id uuid,
    -- Of the team service; an older event changes nothing. 0: nothing has been heard of it.
    version      bigint not null,
    primary key (account_id, id)
);
create index mailboxes_of_team on mailboxes (account_id, team_id);
