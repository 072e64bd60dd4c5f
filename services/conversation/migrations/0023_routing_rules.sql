-- ISO 3166-1 alpha-2.
alter table contacts add column country text check (country ~ '^[A-Z]{2}$');

-- Which team a new conversation goes to: a list for each account. Every change of it is made under the lock of its row here, one
-- after the other.
create table routing_lists (
    account_id uuid primary key
);

create table routing_rules (
    account_id    uuid        not null,
    id            uuid        not null,
    -- Its place in the list, the least first.
    position      integer     not null,
    name          text        not null,
    -- See domain::rules::Conditions.
    conditions    jsonb       not null,
    team_id       uuid        not null,
    priority      smallint    check (priority between 1 and 4),
    add_topic_ids uuid[]      not null,
    version       bigint      not null,
    created_at    timestamptz not null,
    primary key (account_id, id),
    constraint routing_rules_position unique (account_id, position) deferrable initially immediate
);
create index routing_rules_of_team on routing_rules (account_id, team_id);

-- Why a conversation went to its team, by the version of it that this led to. Where an account has no rules, and a mailbox its team,
-- there is nothing to tell.
create table routings (
    account_id      uuid        not null,
    conversation_id uuid        not null,
    version         bigint      not null,
    at              timestamptz not null,
    -- RULE: the rule below; MAILBOX: no rule matched, the mailbox's team; FALLBACK: neither, the account's fallback team.
    via             text        not null check (via in ('RULE', 'MAILBOX', 'FALLBACK')),
    -- May be gone, or say something else in a later version.
    rule_id         uuid,
    rule_version    bigint,
    team_id         uuid        not null,
    -- What the conditions looked at, but for the text. See domain::rules::Enquiry.
    facts           jsonb       not null,
    primary key (account_id, conversation_id, version),
    constraint routings_rule check ((via = 'RULE') = (rule_id is not null) and (rule_id is null) = (rule_version is null))
);
