-- Of an archived team: the active one that has taken its place. Where that is archived in turn, this moves on, so that it always
-- leads to an active team in one step.
alter table teams add column receiving_id uuid;
alter table teams add foreign key (account_id, receiving_id) references teams;
alter table teams add constraint teams_receiving check (receiving_id is null or (archived_at is not null and receiving_id <> id));
create index teams_received on teams (account_id, receiving_id) where receiving_id is not null;
