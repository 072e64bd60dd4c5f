-- How the tables spread over a Citus cluster: each row lives with its account.
select create_distributed_table('teams', 'account_id');
select create_distributed_table('team_visible_teams', 'account_id', colocate_with => 'teams');
select create_distributed_table('members', 'account_id', colocate_with => 'teams');
select create_distributed_table('memberships', 'account_id', colocate_with => 'teams');
select create_distributed_table('accounts', 'account_id', colocate_with => 'teams');
select create_distributed_table('user_states', 'account_id', colocate_with => 'teams');
select create_distributed_table('departments', 'account_id', colocate_with => 'teams');
select create_distributed_table('department_members', 'account_id', colocate_with => 'teams');
select create_distributed_table('department_trees', 'account_id', colocate_with => 'teams');
select create_distributed_table('answers', 'account_id', colocate_with => 'teams');
-- Local to the coordinator, looked through across accounts: account_deletions.
-- Local to the coordinator: the feed is one order of events over all accounts and one cursor a
-- followed feed (feed_events, feed_generation, feed_cursors).
