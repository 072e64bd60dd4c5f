-- More of what the team service says of a team. Copies that are here already know nothing of it: their last event is taken in once
-- more, since it counts as newer now and the feed is read again from its beginning. Older events change nothing.
alter table teams add column topic_mandatory boolean not null default false;
alter table teams add column sticky_owner boolean not null default false;
-- After how long in the queue a conversation makes an alert, in seconds; 0: none does.
alter table teams add column wait_alert_seconds integer not null default 0 check (wait_alert_seconds >= 0);
create index teams_with_alerts on teams (account_id, id) where wait_alert_seconds > 0;
update teams set version = version - 1;
delete from feed_cursors where source = 'team';

-- diwan.conversation.v1.Priority, 1 to 4; 2 is normal.
alter table conversations add column priority smallint not null default 2 check (priority between 1 and 4);
alter table conversations add column snoozed_until timestamptz;
alter table conversations add constraint conversations_snoozed_until check ((snoozed_until is not null) = (state = 'SNOOZED'));
-- Whether its wait in the queue has made an alert. Of no meaning elsewhere.
alter table conversations add column wait_alerted boolean not null default false;
-- Topics are never deleted, so an id here always leads to one.
alter table conversations add column topic_ids uuid[] not null default '{}';

-- The order of a queue: see store::queue.
drop index conversations_queue;
create index conversations_queue on conversations (account_id, team_id, priority desc, queued_at, id) where state = 'QUEUED';
create index conversations_unalerted on conversations (account_id, team_id, queued_at) where state = 'QUEUED' and not wait_alerted;
create index conversations_snoozed on conversations (snoozed_until) where state = 'SNOOZED';
-- What a returning contact had last.
create index conversations_of_contact on conversations (account_id, contact_id, assigned_at) where last_holder_id is not null;
-- The pace at which a queue is given out.
create index transitions_out_of_queue on transitions (account_id, team_id, at) where from_state = 'QUEUED' and to_state = 'OPEN';

-- BATCH: who of a team gets which of what waits (domain::routing::Decision). RETURN: whether one conversation goes back to one agent
-- (domain::routing::Return).
alter table decisions add column kind text not null default 'BATCH' check (kind in ('BATCH', 'RETURN'));

-- Many conversations that move: worked off in the order of their ids, so that whoever goes on after a crash knows where.
create table reassignments (
    account_id  uuid        not null,
    id          uuid        not null,
    actor_id    uuid        not null,
    -- What moves: what this user holds, what is with this team, also what waits there.
    holder_id   uuid,
    team_id     uuid,
    queued      boolean     not null,
    -- Where to.
    to_team_id  uuid,
    to_user_id  uuid,
    -- Conversations up to here are done; later ones than the last came after the beginning.
    done_up_to  uuid        not null,
    last_id     uuid        not null,
    moved       integer     not null default 0,
    over_limit  integer     not null default 0,
    skipped     integer     not null default 0,
    created_at  timestamptz not null,
    finished_at timestamptz,
    primary key (account_id, id),
    constraint reassignments_what check (holder_id is not null or team_id is not null)
);
create index reassignments_running on reassignments (created_at) where finished_at is null;
