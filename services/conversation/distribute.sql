-- How the tables lie on Citus: run once, after the first migration, where one server is not enough.

-- Each account's rows on one node.
select create_distributed_table('teams', 'account_id');
select create_distributed_table('users', 'account_id', colocate_with => 'teams');
select create_distributed_table('slots', 'account_id', colocate_with => 'teams');
select create_distributed_table('presence', 'account_id', colocate_with => 'teams');
select create_distributed_table('live_sessions', 'account_id', colocate_with => 'teams');
select create_distributed_table('ended_sign_ins', 'account_id', colocate_with => 'teams');
select create_distributed_table('contacts', 'account_id', colocate_with => 'teams');
select create_distributed_table('conversations', 'account_id', colocate_with => 'teams');
select create_distributed_table('messages', 'account_id', colocate_with => 'teams');
select create_distributed_table('sends', 'account_id', colocate_with => 'teams');
select create_distributed_table('decisions', 'account_id', colocate_with => 'teams');
select create_distributed_table('transitions', 'account_id', colocate_with => 'teams');
select create_distributed_table('agent_history', 'account_id', colocate_with => 'teams');
select create_distributed_table('team_history', 'account_id', colocate_with => 'teams');
select create_distributed_table('priority_history', 'account_id', colocate_with => 'teams');
select create_distributed_table('reassignments', 'account_id', colocate_with => 'teams');
select create_distributed_table('topic_trees', 'account_id', colocate_with => 'teams');
select create_distributed_table('topics', 'account_id', colocate_with => 'teams');
select create_distributed_table('routing_lists', 'account_id', colocate_with => 'teams');
select create_distributed_table('routing_rules', 'account_id', colocate_with => 'teams');
select create_distributed_table('routings', 'account_id', colocate_with => 'teams');
select create_distributed_table('bots', 'account_id', colocate_with => 'teams');
select create_distributed_table('bot_turns', 'account_id', colocate_with => 'teams');
select create_distributed_table('principals', 'account_id', colocate_with => 'teams');
select create_distributed_table('contact_groups', 'account_id', colocate_with => 'teams');
select create_distributed_table('notes', 'account_id', colocate_with => 'teams');
select create_distributed_table('account_languages', 'account_id', colocate_with => 'teams');
select create_distributed_table('answer_timers', 'account_id', colocate_with => 'teams');
select create_distributed_table('automatic_replies', 'account_id', colocate_with => 'teams');
select create_distributed_table('answers', 'account_id', colocate_with => 'teams');

-- On the coordinator only: one order of events, one cursor a feed.
-- local: feed_events
-- local: feed_generation
-- local: feed_cursors
-- Looked through across accounts.
-- local: account_deletions
