-- How far this service has followed the feeds of others. See diwan_feed::consume.
create table feed_cursors (
    source      text   primary key,
    generation  bigint not null,
    transaction bigint not null,
    sequence    bigint not null
);
