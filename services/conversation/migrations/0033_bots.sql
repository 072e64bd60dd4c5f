-- Who talks with customers before an agent does.
create table bots (
    account_id       uuid        not null,
    id               uuid        not null,
    name             text        not null,
    -- What a menu bot says: see domain::menu::Menu. Null: an external one.
    menu             jsonb,
    -- An external one's service principal, and for how long a customer may wait for its answer.
    principal_id     uuid,
    answer_seconds   integer     check (answer_seconds between 1 and 86400),
    -- For how long it waits for a customer's answer; 0: for ever.
    patience_seconds integer     not null check (patience_seconds between 0 and 604800),
    enabled          boolean     not null,
    retired_at       timestamptz,
    version          bigint      not null,
    created_at       timestamptz not null,
    primary key (account_id, id),
    constraint bots_kind check ((menu is null) = (principal_id is not null) and (principal_id is null) = (answer_seconds is null)),
    constraint bots_retired check (retired_at is null or not enabled)
);
create index bots_of_principal on bots (account_id, principal_id) where principal_id is not null;

-- The bot that it is or was with. Where the state is BOT, it is with it.
alter table conversations add column bot_id uuid;
alter table messages add column bot_id uuid;
alter table transitions add column bot_id uuid;
-- How many conversations of a contact have started with a bot, within the hour that began then.
alter table contacts
    add column bot_hour_began_at timestamptz,
    add column bot_starts        smallint not null default 0;
-- The bot that a conversation starts with.
alter table routing_rules add column bot_id uuid;
create index routing_rules_of_bot on routing_rules (account_id, bot_id) where bot_id is not null;

-- Whose turn it is. A row for each conversation in the state BOT and for no other: store::record ends it with the state.
create table bot_turns (
    account_id      uuid        not null,
    conversation_id uuid        not null,
    bot_id          uuid        not null,
    -- Messages of the customer that want an answer, and how many of them have one. The customer waits where they differ.
    turn            integer     not null,
    answered        integer     not null,
    -- When the prospective team's queue gets it; null: never.
    due_at          timestamptz,
    -- What whoever answers the turn has to show, which turn that is, and until when.
    claim_id        uuid,
    claimed_turn    integer,
    claimed_until   timestamptz,
    -- Of a menu: the page that was asked last, in which language, how many questions there were, and how many answers in a row were not
    -- understood.
    page            integer     not null default 0,
    language        text        not null default '',
    questions       integer     not null default 0,
    misunderstood   integer     not null default 0,
    -- The version of the bot that asked.
    asked_version   bigint      not null default 0,
    primary key (account_id, conversation_id),
    foreign key (account_id, conversation_id) references conversations (account_id, id),
    foreign key (account_id, bot_id) references bots (account_id, id),
    constraint bot_turns_answered check (answered between 0 and turn),
    constraint bot_turns_claim check ((claim_id is null) = (claimed_turn is null) and (claim_id is null) = (claimed_until is null))
);
create index bot_turns_due on bot_turns (due_at) where due_at is not null;
create index bot_turns_waiting on bot_turns (account_id, bot_id, due_at) where answered < turn;
create index bot_turns_of_bot on bot_turns (account_id, bot_id, conversation_id);
