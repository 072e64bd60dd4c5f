-- The accounts, as identity says: a copy by its feed.
create table accounts (
    account_id uuid   primary key,
    -- IANA, by which the working hours of the account's teams count.
    time_zone  text   not null,
    -- Of identity; an older event changes nothing. 0: nothing is known from it yet.
    version    bigint not null
);

-- When the team works, see diwan_hours::Schedule. Null: it is always open.
alter table teams add column working_hours jsonb;

-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);
