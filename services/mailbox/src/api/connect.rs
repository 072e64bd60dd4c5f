//! Connecting a mailbox: what is asked for, whether it works, and storing it.

use std::time::Duration;

use diwan_access::User;
use diwan_fault::{Fault, Fields};
use diwan_proto::{
    mailbox::v1::{ConnectMailboxRequest, ConnectMailboxResponse, Security as ProtoSecurity, ServerSettings},
    team::v1::BatchGetTeamsRequest,
};
use diwan_runtime::ids;
use diwan_store::answers::{self, Request};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::encode;
use crate::{
    domain::server::{Password, Security, Server, Side},
    error::Error,
    probe,
    reach::Reach,
    shared::{FLEET, Shared},
    store::{
        leases,
        mailboxes::{self, Mailbox},
        teams,
    },
    vault::Label,
};

/// The longest that the tests of the settings may take together; a caller without patience ends them sooner.
const TESTS: Duration = Duration::from_secs(45);

/// What is asked for, in order.
struct Wanted {
    address: String,
    display_name: String,
    team: Uuid,
    imap: Server,
    smtp: Server,
}

/// ConnectMailbox.
pub(super) async fn connect(
    shared: &Shared,
    caller: &User,
    mut message: ConnectMailboxRequest,
) -> Result<ConnectMailboxResponse, Fault> {
    let account = caller.account_id;
    let mut fields = Fields::new();
    let id = fields.request_id(&message.request_id);
    let wanted = decode(&mut fields, &message, shared.config.reach);
    fields.finish()?;
    // What is stored of the request must not help anybody to guess a password.
    for server in [&mut message.imap, &mut message.smtp].into_iter().flatten() {
        server.password.clear();
    }
    let request = Request::new(account, &id, "ConnectMailbox", &message).by(caller.user_id);
    if let Some(answer) = answers::find(shared.database.pool(), &request).await? {
        return Ok(answer);
    }
    require_team(shared, account, wanted.team).await?;
    require_free(shared, account, &wanted.address).await?;
    let start = tokio::time::timeout(TESTS, probe::probe(&wanted.imap, &wanted.smtp, shared.config.reach))
        .await
        .map_err(|late| Fault::unavailable(late, Duration::from_secs(10)))??;
    let mailbox = seal(shared, account, wanted, start)?;
    let answer = store(shared, &request, &mailbox).await?;
    shared.database.wake().ring(FLEET);
    Ok(answer)
}

fn decode(fields: &mut Fields, message: &ConnectMailboxRequest, reach: Reach) -> Wanted {
    Wanted {
        address: fields.email("address", &message.address),
        display_name: fields.line("display_name", &message.display_name, 0..=100),
        team: fields.uuid("team_id", &message.team_id),
        imap: server(fields, "imap", message.imap.as_ref(), reach),
        smtp: server(fields, "smtp", message.smtp.as_ref(), reach),
    }
}

fn server(fields: &mut Fields, side: &'static str, settings: Option<&ServerSettings>, reach: Reach) -> Server {
    let field = |name: &str| format!("{side}.{name}");
    if settings.is_none() {
        fields.refuse(side, "FIELD_REQUIRED", &[]);
    }
    // An absent side is named once, not field by field.
    let mut absent = Fields::new();
    let fields = if settings.is_some() { fields } else { &mut absent };
    let settings = settings.cloned().unwrap_or_default();
    let least = usize::from(side == Side::Imap.name());
    let password_least = if settings.user.is_empty() { least } else { 1 };
    let host = fields.line(&field("host"), &settings.host, 1..=253);
    if host.contains(|c: char| !(c.is_ascii_alphanumeric() || ".-:_".contains(c))) {
        fields.refuse(&field("host"), "FIELD_VALUE", &[("values", "mail.example.com, 192.0.2.1".to_owned())]);
    }
    if !(password_least..=1000).contains(&settings.password.chars().count()) {
        let limits = [("min", password_least.to_string()), ("max", "1000".to_owned())];
        fields.refuse(&field("password"), "FIELD_LENGTH", &limits);
    }
    Server {
        host,
        port: u16::try_from(fields.number(&field("port"), settings.port, 1..=65535)).unwrap_or_default(),
        security: security(fields, &field("security"), settings.security(), reach),
        user: fields.line(&field("user"), &settings.user, least..=320),
        // As it is: white space may be part of a password.
        password: Password::new(settings.password),
    }
}

fn security(fields: &mut Fields, field: &str, asked: ProtoSecurity, reach: Reach) -> Security {
    match asked {
        ProtoSecurity::Tls => return Security::Tls,
        ProtoSecurity::Starttls => return Security::StartTls,
        ProtoSecurity::Plain if reach == Reach::RemoteAndLoopback => return Security::Plain,
        ProtoSecurity::Plain => fields.refuse(field, "PLAIN_NOT_ALLOWED", &[]),
        ProtoSecurity::Unspecified => {
            let values = "SECURITY_TLS, SECURITY_STARTTLS, SECURITY_PLAIN";
            fields.refuse(field, "FIELD_VALUE", &[("values", values.to_owned())]);
        }
    }
    Security::Tls
}

async fn require_team(shared: &Shared, account: Uuid, team: Uuid) -> Result<(), Error> {
    let asked = BatchGetTeamsRequest { account_id: account.to_string(), team_ids: vec![team.to_string()] };
    let answer = shared.team.clone().batch_get_teams(asked).await;
    let teams = answer.map_err(|status| Error::Service("team", Box::new(status)))?.into_inner().teams;
    if teams.iter().any(|found| found.id == team.to_string()) { Ok(()) } else { Err(Error::TeamNotFound) }
}

/// Spares the mail server a login that could not be stored; what decides is the unique index.
async fn require_free(shared: &Shared, account: Uuid, address: &str) -> Result<(), Error> {
    let mut connection = shared.database.pool().acquire().await?;
    if mailboxes::is_taken(&mut connection, account, address).await? { Err(Error::MailboxTaken) } else { Ok(()) }
}

fn seal(shared: &Shared, account: Uuid, wanted: Wanted, start: probe::Start) -> Result<Mailbox, Error> {
    let id = ids::new_id();
    let sealed = |side, server: &Server| {
        Label { account, mailbox: id, side }.seal(&shared.vault, &server.password).map_err(Error::from)
    };
    Ok(Mailbox {
        account_id: account,
        id,
        imap_secret: sealed(Side::Imap, &wanted.imap)?,
        smtp_secret: sealed(Side::Smtp, &wanted.smtp)?,
        address: wanted.address,
        display_name: wanted.display_name,
        team_id: wanted.team,
        imap_host: wanted.imap.host,
        imap_port: wanted.imap.port.into(),
        imap_security: wanted.imap.security.name().to_owned(),
        imap_user: wanted.imap.user,
        smtp_host: wanted.smtp.host,
        smtp_port: wanted.smtp.port.into(),
        smtp_security: wanted.smtp.security.name().to_owned(),
        smtp_user: wanted.smtp.user,
        state: "CONNECTING".to_owned(),
        error: String::new(),
        synced_at: None,
        uid_validity: start.uid_validity.into(),
        cursor_uid: start.last_uid.into(),
        history_below: 0,
        messages: 0,
        quarantined: 0,
        created_at: shared.clock.now().to_sqlx(),
    })
}

async fn store(shared: &Shared, request: &Request, mailbox: &Mailbox) -> Result<ConnectMailboxResponse, Error> {
    let now = shared.clock.now();
    let stored = shared.database.answer_once(request, now, async |tx: &mut PgConnection| {
        // It may have been archived during the tests.
        let team_id = teams::resolve(tx, mailbox.account_id, mailbox.team_id).await?;
        let mailbox = &Mailbox { team_id, ..mailbox.clone() };
        mailboxes::insert(tx, mailbox).await.map_err(|error| {
            if error.is_unique_violation(mailboxes::ADDRESS_INDEX) { Error::MailboxTaken } else { error.into() }
        })?;
        leases::offer(tx, mailbox.account_id, mailbox.id, now).await?;
        Ok(ConnectMailboxResponse { mailbox: Some(encode::mailbox(mailbox)) })
    });
    stored.await
}
