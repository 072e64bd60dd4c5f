-- When a team works, as the team service says: see diwan_hours::Schedule. Null: it is always open.
alter table teams add column working_hours jsonb;
alter table teams add column time_zone text not null default 'UTC';
-- What follows from them, kept so that whoever waits for a shift need not look at every team: whether the team is open until
-- changes_at. Null: that does not change.
alter table teams add column open boolean not null default true;
alter table teams add column changes_at timestamptz;
create index teams_changes on teams (changes_at) where changes_at is not null;
