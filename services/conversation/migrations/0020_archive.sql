-- A team that is archived: where its conversations go, and whatever arrives for it. Null: it is active.
alter table teams add column receiving_id uuid;
-- Nothing that is not closed is with it. Set only where that is so, under the lock of this row that whatever comes to a team takes.
alter table teams add column archived boolean not null default false;
-- How far its conversations have moved since it was archived last.
alter table teams add column archive_started_at timestamptz;
alter table teams add column archive_finished_at timestamptz;
alter table teams add column archive_moved integer not null default 0;
alter table teams add constraint teams_archived check (not archived or receiving_id is not null);
create index teams_moving on teams (account_id, id) where receiving_id is not null and not archived;
-- Copies that are here already know nothing of it: see 0004.
update teams set version = version - 1;
delete from feed_cursors where source = 'team';
