-- The events of one account in their order, for those who follow only it: as in shared/feed/sql/feed.sql.
alter table feed_events drop constraint feed_events_pkey, add primary key (account_id, xid, seq);
