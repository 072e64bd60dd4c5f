-- The time zone of an account, as identity says; null: it has not said it yet. The accounts of its feed are read anew for it.
alter table account_languages add column time_zone text;
update account_languages set version = version - 1;
delete from feed_cursors where source = 'identity';
