-- Departments: trees of which each node has one head.
create table departments (
    account_id uuid   not null,
    id         uuid   not null,
    name       text   not null check (char_length(name) between 1 and 100),
    -- The name as it is compared and sorted, which must not depend on the locale of the server.
    name_key   text   not null collate "C",
    -- The department above; null at the top. No cycle: see change::departments.
    parent_id  uuid,
    head_id    uuid   not null,
    version    bigint not null,
    primary key (account_id, id),
    foreign key (account_id, parent_id) references departments,
    foreign key (account_id, head_id) references members,
    constraint departments_not_below_itself check (parent_id <> id)
);
create unique index departments_name on departments
    (account_id, coalesce(parent_id, '00000000-0000-0000-0000-000000000000'), name_key);
create index departments_below on departments (account_id, parent_id);

-- Who belongs to which department: to one at most. The row stays when he leaves, so that its version goes on rising.
create table department_members (
    account_id    uuid   not null,
    user_id       uuid   not null,
    department_id uuid,
    version       bigint not null,
    primary key (account_id, user_id),
    foreign key (account_id, user_id) references members,
    foreign key (account_id, department_id) references departments
);
create index department_members_of on department_members (account_id, department_id, user_id);

-- One row an account: whoever changes the shape of its departments holds it.
create table department_trees (
    account_id uuid primary key
);
