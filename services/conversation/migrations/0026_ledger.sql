-- The ledger in the compact form of domain::ledger, with everything that a decision was made from. What was kept before cannot be
-- decided anew, so it goes.
delete from decisions;
alter table decisions drop column ledger;
alter table decisions add column ledger bytea not null;
-- Of a RETURN: why the agent did not get it; null: he did.
alter table decisions add column refusal text;
-- For forgetting the oldest.
create index decisions_by_time on decisions (decided_at);
