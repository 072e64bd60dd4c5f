-- What a replay of the routing needs besides decisions and transitions: see docs/decisions/simulation.md. Rows are added in the
-- transaction of what they tell of and never changed; they are kept as long as decisions, and of each the last from before that.

-- A member of a team, or who was one, as the routing saw him after something about him changed.
create table agent_history (
    account_id       uuid        not null,
    team_id          uuid        not null,
    user_id          uuid        not null,
    id               bigint      not null generated always as identity,
    at               timestamptz not null,
    member           boolean     not null,
    enabled          boolean     not null,
    availability     text        not null check (availability in ('ACTIVE', 'WATCHING', 'OFFLINE')),
    open_count       integer     not null,
    automatic_count  bigint      not null,
    last_assigned_at timestamptz,
    -- Whether everybody's counts started over.
    restart          boolean     not null,
    primary key (account_id, team_id, user_id, id)
);
create index agent_history_by_time on agent_history (at);

-- The settings of a team after they changed.
create table team_history (
    account_id       uuid        not null,
    team_id          uuid        not null,
    id               bigint      not null generated always as identity,
    at               timestamptz not null,
    assignment_limit integer     not null,
    working_hours    jsonb,
    time_zone        text        not null,
    archived         boolean     not null,
    primary key (account_id, team_id, id)
);
create index team_history_by_time on team_history (at);

-- A conversation's priority that changed.
create table priority_history (
    account_id      uuid        not null,
    team_id         uuid        not null,
    id              bigint      not null generated always as identity,
    conversation_id uuid        not null,
    at              timestamptz not null,
    from_priority   smallint    not null,
    to_priority     smallint    not null,
    primary key (account_id, team_id, id)
);
create index priority_history_by_time on priority_history (at);

-- From here on: as it is now.
insert into agent_history (account_id, team_id, user_id, at, member, enabled, availability, open_count, automatic_count,
                           last_assigned_at, restart)
select s.account_id, s.team_id, s.user_id, now(), s.member, coalesce(u.active, false), coalesce(p.state, 'OFFLINE'), s.open_count,
       s.automatic_count, s.last_assigned_at, false
from slots s
left join users u on u.account_id = s.account_id and u.id = s.user_id
left join presence p on p.account_id = s.account_id and p.user_id = s.user_id;
insert into team_history (account_id, team_id, at, assignment_limit, working_hours, time_zone, archived)
select account_id, id, now(), assignment_limit, working_hours, time_zone, receiving_id is not null from teams;

-- The team before, where it is another one.
alter table transitions add column from_team_id uuid;
create index transitions_from_team on transitions (account_id, from_team_id, at) where from_team_id is not null;
-- All transitions of a team by time, those out of its queue among them: an assignment writes to as many indexes as before.
create index transitions_of_team on transitions (account_id, team_id, at);
drop index transitions_out_of_queue;
