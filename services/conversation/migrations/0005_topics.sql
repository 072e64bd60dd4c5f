-- What conversations are about: a tree for each account. Every change of it is made under the lock of its row here, so that no two
-- changes that are harmless one by one make a cycle together, or two topics of one name.
create table topic_trees (
    account_id uuid primary key
);

create table topics (
    account_id  uuid        not null,
    id          uuid        not null,
    parent_id   uuid,
    name        text        not null,
    -- As it is compared: without the case of its letters.
    name_key    text        not null,
    archived_at timestamptz,
    version     bigint      not null,
    created_at  timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, parent_id) references topics (account_id, id),
    constraint topics_not_below_itself check (parent_id <> id)
);
create unique index topics_name on topics (account_id, parent_id, name_key) nulls not distinct where archived_at is null;
create index topics_below on topics (account_id, parent_id);
