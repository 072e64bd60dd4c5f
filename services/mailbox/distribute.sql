-- How the tables spread over a Citus cluster (run once on its coordinator, after the migrations).
-- Distributed by account: every statement on them names one account, and foreign keys stay within it.
select create_distributed_table('mailboxes', 'account_id');
select create_distributed_table('messages', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('outgoing', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('teams', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('answers', 'account_id', colocate_with => 'mailboxes');
select create_distributed_table('credential_alerts', 'account_id', colocate_with => 'mailboxes');
-- On every node: looked at together with tables of both kinds.
select create_reference_table('closed_accounts');
-- Local, on the coordinator: found without knowing the account, never joined to the tables above.
select citus_add_local_table_to_metadata('leases');
-- Local, on the coordinator: looked through across accounts.
--   account_deletions
-- Local, on the coordinator: the order of the feed is that of one server's transactions.
-- How far it follows others is kept there too.
--   feed_events, feed_generation, feed_cursors
