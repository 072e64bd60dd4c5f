-- After how many minutes of work without an answer a conversation is offered to others; 0: never.
alter table teams add column no_answer_after_minutes integer not null default 0
    constraint teams_no_answer_after_minutes check (no_answer_after_minutes between 0 and 10080);
-- Whether what waits for an answer is offered to others when its holder has gone OFFLINE.
alter table teams add column reassign_when_offline boolean not null default false;
-- What customers get outside the working hours: see domain::AutomaticReply.
alter table teams add column automatic_reply jsonb not null default '{"enabled": false, "texts": {}}';
