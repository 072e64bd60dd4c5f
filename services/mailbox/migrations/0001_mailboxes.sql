-- Answers to requests that changed something, kept so that a retry gets the first one. See diwan_store::answers.
create table answers (
    account_id uuid        not null,
    request_id text        not null,
    method     text        not null,
    digest     bytea       not null,
    -- The encoded answer; empty until the transaction that claims the request has one.
    answer     bytea       not null,
    created_at timestamptz not null,
    primary key (account_id, request_id)
);
create index answers_by_age on answers (created_at);

create table mailboxes (
    account_id    uuid        not null,
    id            uuid        not null,
    address       text        not null,
    display_name  text        not null,
    team_id       uuid        not null,
    imap_host     text        not null,
    imap_port     integer     not null check (imap_port between 1 and 65535),
    imap_security text        not null check (imap_security in ('TLS', 'STARTTLS', 'PLAIN')),
    imap_user     text        not null,
    -- Encrypted: see the vault.
    imap_secret   bytea       not null,
    smtp_host     text        not null,
    smtp_port     integer     not null check (smtp_port between 1 and 65535),
    smtp_security text        not null check (smtp_security in ('TLS', 'STARTTLS', 'PLAIN')),
    smtp_user     text        not null,
    smtp_secret   bytea       not null,
    state         text        not null check (state in ('CONNECTING', 'SYNCED', 'RETRYING', 'CREDENTIALS_REFUSED')),
    error         text        not null default '',
    synced_at     timestamptz,
    -- Every UID of INBOX up to cursor_uid is stored, quarantined or expunged, under this UIDVALIDITY (RFC 3501, 2.3.1.1).
    uid_validity  bigint      not null check (uid_validity between 0 and 4294967295),
    cursor_uid    bigint      not null check (cursor_uid between 0 and 4294967295),
    -- Set when INBOX was numbered anew: of the mail below it, what is older than the mailbox's connection is history.
    history_below bigint      not null default 0,
    messages      bigint      not null default 0,
    quarantined   bigint      not null default 0,
    created_at    timestamptz not null,
    primary key (account_id, id)
);
create unique index mailboxes_address on mailboxes (account_id, lower(address));
create index mailboxes_by_time on mailboxes (account_id, created_at, id);

-- Which replica works on which mailbox. One row a mailbox, found without knowing its account.
create table leases (
    mailbox_id uuid        primary key,
    account_id uuid        not null,
    -- Null: nobody's.
    owner      uuid,
    expires_at timestamptz not null,
    -- Whether there may be something to send that the owner has not been told of.
    send_wanted boolean    not null default false
);
create index leases_by_expiry on leases (expires_at);
create index leases_by_owner on leases (owner) where owner is not null;

-- Mail that came in.
create table messages (
    account_id     uuid        not null,
    id             uuid        not null,
    mailbox_id     uuid        not null,
    uid_validity   bigint      not null,
    uid            bigint      not null,
    -- SHA-256 of the mail as received: its key in the blob store. Null: the server never handed it out.
    sha256         text,
    -- Tells the same mail under another UIDVALIDITY: its Message-ID and body, hashed.
    fingerprint    bytea       not null,
    size           bigint      not null,
    received_at    timestamptz not null,
    -- PENDING: conversation does not have it yet. HISTORY and OWN never become conversations.
    state          text        not null check (state in ('PENDING', 'INGESTED', 'REFUSED', 'HISTORY', 'OWN')),
    from_email     text        not null,
    from_name      text        not null,
    subject        text        not null,
    body           text        not null,
    rfc_message_id text        not null,
    -- Nearest first.
    thread         text[]      not null,
    attachments    jsonb       not null,
    auto_submitted boolean     not null,
    -- Given as far as it could be read.
    broken         boolean     not null,
    -- Why the server's answer could not be had; empty where it could.
    quarantine     text        not null default '',
    stored_at      timestamptz not null,
    primary key (account_id, id),
    foreign key (account_id, mailbox_id) references mailboxes (account_id, id),
    constraint messages_raw_or_reason check (sha256 is not null or quarantine <> '')
);
-- Nothing is stored twice, whoever else believes to own the mailbox.
create unique index messages_uid on messages (account_id, mailbox_id, uid_validity, uid);
create index messages_by_fingerprint on messages (account_id, mailbox_id, fingerprint);
create index messages_to_ingest on messages (account_id, mailbox_id, id) where state = 'PENDING';

-- Mail to send, by the id that conversation gave it.
create table outgoing (
    account_id     uuid        not null,
    message_id     uuid        not null,
    mailbox_id     uuid        not null,
    to_email       text        not null,
    to_name        text        not null,
    subject        text        not null,
    body           text        not null,
    in_reply_to    text        not null,
    -- Oldest first.
    thread         text[]      not null,
    rfc_message_id text        not null,
    -- SENDING is committed before the SMTP dialogue begins: whoever finds it later knows that mail may have left.
    state          text        not null check (state in ('PENDING', 'SENDING', 'SENT', 'FAILED', 'UNKNOWN')),
    attempts       integer     not null default 0,
    due_at         timestamptz not null,
    error          text        not null default '',
    -- Whether conversation knows the state.
    reported       boolean     not null default false,
    created_at     timestamptz not null,
    primary key (account_id, message_id),
    foreign key (account_id, mailbox_id) references mailboxes (account_id, id)
);
create index outgoing_open on outgoing (account_id, mailbox_id, due_at) where state in ('PENDING', 'SENDING');
create index outgoing_to_report on outgoing (account_id, mailbox_id, message_id)
    where state in ('SENT', 'FAILED', 'UNKNOWN') and not reported;
create index outgoing_by_rfc_id on outgoing (account_id, mailbox_id, rfc_message_id);
