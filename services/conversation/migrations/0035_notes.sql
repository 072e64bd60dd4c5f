-- What colleagues tell each other about a conversation. A table of their own: nothing that sends messages knows of it.
create table notes (
    account_id      uuid        not null,
    id              uuid        not null,
    conversation_id uuid        not null,
    -- Who wrote it: a user or a bot.
    author_id       uuid,
    bot_id          uuid,
    text            text        not null,
    created_at      timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, conversation_id) references conversations (account_id, id),
    constraint notes_author check ((author_id is null) <> (bot_id is null))
);
create index notes_of_conversation on notes (account_id, conversation_id, created_at, id);
