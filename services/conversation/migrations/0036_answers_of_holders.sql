-- What the team service says of a team: after how many minutes of work without an answer a conversation is offered to others (0: never),
-- whether it is when its holder has gone OFFLINE, and what customers get who write while it is closed (domain::automatic_reply; null: nothing).
alter table teams add column no_answer_after_minutes integer not null default 0 check (no_answer_after_minutes >= 0);
alter table teams add column reassign_when_offline boolean not null default false;
alter table teams add column automatic_reply jsonb;
-- Copies that are here already know nothing of it: see 0004. The accounts of identity's feed are read anew for their languages.
update teams set version = version - 1;
delete from feed_cursors where source in ('team', 'identity');

create table account_languages (
    account_id uuid   primary key,
    -- ar, en, es or pt.
    language   text   not null,
    -- Of the account in the identity service; an older event changes nothing.
    version    bigint not null
);

-- A machine wrote it (RFC 3834).
alter table messages add column automatic boolean not null default false;

-- Since when the customer waits for an answer of a person: the first of his messages that none has followed. Null: he does not.
alter table conversations add column unanswered_since timestamptz;
-- Who of the agents has had it since then and did not answer in time, the first of them first: the routing passes them over.
alter table conversations add column asked uuid[] not null default '{}';
update conversations c set unanswered_since = waits.since
from (select i.account_id, i.conversation_id, min(i.created_at) as since
      from messages i
      where i.direction = 'IN'
        and not exists (select from messages o
                        where o.account_id = i.account_id and o.conversation_id = i.conversation_id and o.direction = 'OUT'
                          and o.created_at >= i.created_at)
      group by i.account_id, i.conversation_id) waits
where c.account_id = waits.account_id and c.id = waits.conversation_id and c.state <> 'CLOSED';

-- When to look whether a held conversation is offered to others. What is true then is found out then: a row too many does no harm.
create table answer_timers (
    account_id      uuid        not null,
    conversation_id uuid        not null,
    due_at          timestamptz not null,
    primary key (account_id, conversation_id),
    foreign key (account_id, conversation_id) references conversations (account_id, id)
);
create index answer_timers_due on answer_timers (due_at);

-- The automatic replies of the last day, by the opening that they told of: until then their conversation gets no other one.
create table automatic_replies (
    account_id      uuid        not null,
    conversation_id uuid        not null,
    opens_at        timestamptz not null,
    contact_id      uuid        not null,
    sent_at         timestamptz not null,
    primary key (account_id, conversation_id, opens_at),
    foreign key (account_id, conversation_id) references conversations (account_id, id)
);
create index automatic_replies_to_contact on automatic_replies (account_id, contact_id, sent_at);

-- The sign-ins in which a choice holds: that in which it was made, and those that were there with it.
alter table presence drop constraint presence_chosen_in;
alter table presence add column sign_ins uuid[] not null default '{}';
update presence set sign_ins = array[sign_in] where sign_in is not null;
alter table presence drop column sign_in;
alter table presence add constraint presence_chosen_in check ((chosen is null) = (sign_ins = '{}'));

-- The sign-in that a live session belongs to: it ends with it.
alter table live_sessions add column sign_in uuid;
create index live_sessions_of_sign_in on live_sessions (account_id, sign_in);
