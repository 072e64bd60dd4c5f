-- How the tables spread over a Citus cluster: each row lives with its account.
select create_distributed_table('subscriptions', 'account_id');
select create_distributed_table('seats', 'account_id', colocate_with => 'subscriptions');
select create_distributed_table('answers', 'account_id', colocate_with => 'subscriptions');
-- Local, on the coordinator: looked through across accounts.
--   account_deletions
-- Local, on the coordinator: the order of the feed is that of one server's transactions.
--   feed_events, feed_generation, feed_cursors
