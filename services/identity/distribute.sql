-- What each table is on Citus. Run once, after the migrations, by whoever runs identity on more than one server.
-- distributed by account
select create_distributed_table('accounts', 'account_id');
select create_distributed_table('users', 'account_id', colocate_with => 'accounts');
select create_distributed_table('invitations', 'account_id', colocate_with => 'accounts');
select create_distributed_table('sessions', 'account_id', colocate_with => 'accounts');
select create_distributed_table('password_resets', 'account_id', colocate_with => 'accounts');
select create_distributed_table('email_confirmations', 'account_id', colocate_with => 'accounts');
select create_distributed_table('ownership_offers', 'account_id', colocate_with => 'accounts');
select create_distributed_table('second_factors', 'account_id', colocate_with => 'accounts');
select create_distributed_table('recovery_codes', 'account_id', colocate_with => 'accounts');
select create_distributed_table('factor_recoveries', 'account_id', colocate_with => 'accounts');
select create_distributed_table('one_time_codes', 'account_id', colocate_with => 'accounts');
select create_distributed_table('sign_in_challenges', 'account_id', colocate_with => 'accounts');
select create_distributed_table('trusted_devices', 'account_id', colocate_with => 'accounts');
select create_distributed_table('second_factor_policies', 'account_id', colocate_with => 'accounts');
select create_distributed_table('whatsapp_numbers', 'account_id', colocate_with => 'accounts');
select create_distributed_table('audit_entries', 'account_id', colocate_with => 'accounts');
-- local: asked before the account is known
--   email_addresses, failures, service_principals, principal_credentials, acted_users, taken_assertions
-- local: the nil account has the answers to sign-ups, and a sweep reads the others across accounts in the order of one
-- server's transactions
--   answers, jobs, account_deletions, exports, export_parts, export_files, export_pieces, revocations, feed_events, feed_generation, feed_cursors, audit_inbox, audit_heads
-- local: of the installation, not of an account
--   signing_keys, operator_revocations
-- local: sqlx's own
--   _sqlx_migrations
