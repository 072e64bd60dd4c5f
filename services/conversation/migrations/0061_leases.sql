-- Leases are extended every few seconds, a thousand at a time: without an index on when they end, and with room in their pages, that
-- touches no index.
drop index live_sessions_of_user;
create index live_sessions_of_user on live_sessions (account_id, user_id);
alter table live_sessions set (fillfactor = 50);
