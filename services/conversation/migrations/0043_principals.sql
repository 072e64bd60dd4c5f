-- The service principals that a bot may be: those of the account, as identity says, and those of the installation that have called as a bot
-- for the account. None goes: one that is disabled comes back.
create table principals (
    account_id uuid not null,
    id         uuid not null,
    primary key (account_id, id)
);
insert into principals (account_id, id) select distinct account_id, principal_id from bots where principal_id is not null;
-- Those that there are stand in events that have passed: identity's feed is read anew.
delete from feed_cursors where source = 'identity';

-- For how long a turn was claimed: what the bot says with more to come renews it.
alter table bot_turns add column lease_seconds integer;
