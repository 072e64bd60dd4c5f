-- How the tables spread over a Citus cluster (run once on its coordinator, after the migrations).
-- Distributed by account: every statement on them names one account, and foreign keys stay within it.
select create_distributed_table('mailboxes', 'account_id');
select create_distributed_table('messages', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('outgoing', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('answers', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('credential_alerts', 'account_id', colocate_with => 'mailboxes');
-- Local, on the coordinator: found without knowing the account, never joined to the tables above.
select citus_add_local_table_to_metadata('leases');
-- Local, on the coordinator: the order of the feed is that of one server's transactions.
--   feed_events, feed_generation
