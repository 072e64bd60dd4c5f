-- Whether a customer who is back goes to the agent whom he had last.
alter table teams add column sticky_owner boolean not null default false;
-- After how long in the queue a conversation makes an alert, in seconds; 0: none does.
alter table teams add column wait_alert_seconds integer not null default 0
    constraint teams_wait_alert_seconds check (wait_alert_seconds between 0 and 2592000);
