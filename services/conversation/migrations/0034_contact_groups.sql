create table contact_groups (
    account_id uuid        not null,
    id         uuid        not null,
    name       text        not null,
    -- As it is compared: without the case of its letters.
    name_key   text        not null,
    version    bigint      not null,
    created_at timestamptz not null,
    primary key (account_id, id),
    constraint contact_groups_name unique (account_id, name_key)
);

-- The groups that a contact is in. With the contact and not in a table of their own: each conversation that is shown shows them.
-- Whoever puts a contact into a group holds the group's row, and whoever removes a group takes it out of its members.
alter table contacts add column group_ids uuid[] not null default '{}';
create index contacts_of_group on contacts using gin (group_ids);
