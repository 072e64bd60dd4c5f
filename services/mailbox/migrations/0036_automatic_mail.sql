-- Whether nobody wrote it: see domain::outgoing.
alter table outgoing add column automatic boolean not null default false;
-- It says more than the one header that it was named after: see domain::parse.
alter table messages rename column auto_submitted to automatic;
