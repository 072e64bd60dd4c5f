//! Settings from the environment.

use std::{num::NonZero, path::PathBuf, thread, time::Duration};

use diwan_runtime::{Env, env::EnvError};
use lettre::message::Mailbox;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::{
    throttle::Limits,
    whatsapp::{Route, Settings, TokenSource},
};

/// About a second of waiting.
const LINE_A_RUN: usize = 64;
const SIGNING_KEY_DAYS: NonZero<u16> = NonZero::new(30).unwrap();
const FAILURES_PER_ADDRESS: NonZero<u16> = NonZero::new(10).unwrap();
/// An office, or everybody of a mobile carrier, may be behind one.
const FAILURES_PER_IP: NonZero<u32> = NonZero::new(100).unwrap();

/// How long an account that is being closed can still be kept.
const GRACE_DAYS: NonZero<u16> = NonZero::new(30).unwrap();
const EXPORT_DAYS: NonZero<u16> = NonZero::new(7).unwrap();
const DAY: Duration = Duration::from_hours(24);
/// Long enough for whoever has not asked for it to read of it.
const RECOVERY_HOURS: NonZero<u16> = NonZero::new(24).unwrap();

/// The Cloud API. A version is served for two years.
const WHATSAPP: &str = "https://graph.facebook.com/v25.0";
/// Well below the lease of a job, so that no two workers send one message.
const WHATSAPP_LIMIT: Duration = Duration::from_secs(15);

/// How identity is set up.
#[derive(Clone)]
pub struct Config {
    /// `DIWAN_IDENTITY_DATABASE_URL`.
    pub database_url: String,
    /// `DIWAN_PUBLIC_URL`: where people reach Diwan; links in e-mails begin with it. Default `http://localhost:7000`.
    pub public_url: String,
    /// `DIWAN_IDENTITY_MAIL_FROM`: the sender of e-mails. Default `Diwan <no-reply@localhost>`.
    pub mail_from: Mailbox,
    /// Where e-mails go.
    pub mail: MailRoute,
    /// Where WhatsApp messages go.
    pub whatsapp: Route,
    /// `DIWAN_IDENTITY_CLOSING_GRACE_DAYS`: so many days after its owner has begun to close an account it is closed. Default 30.
    pub closing_grace: Duration,
    /// `DIWAN_IDENTITY_FACTOR_RECOVERY_HOURS`: so long after an operator has begun it a recovery takes somebody's second factors. Default 24.
    pub recovery_delay: Duration,
    /// `DIWAN_IDENTITY_RETENTION_DAYS`: so many days after an account is closed its data is deleted. Default 30.
    pub retention: Duration,
    /// `DIWAN_IDENTITY_EXPORT_DAYS`: so many days an export can be downloaded. Default 7.
    pub export_kept: Duration,
    /// `DIWAN_IDENTITY_BLOBS`: the folder of pictures and exports, which all replicas share. Default `.diwan/blobs`.
    pub blobs: PathBuf,
    /// `DIWAN_IDENTITY_AUDIT_HEADS`: the folder where heads of the audit log are kept, out of the database's reach. Default: none, they
    /// go to the log stream alone.
    pub audit_heads: Option<PathBuf>,
    /// `DIWAN_IDENTITY_SECRET_KEYS_FILE`: the keys that secrets in the database are encrypted under, the same for all replicas.
    /// Default: `identity-secrets.json` in the key folder, made at the first start.
    pub secret_keys: Option<PathBuf>,
    /// `DIWAN_IDENTITY_SIGNING_KEY_DAYS`: how long a key signs access tokens before the next one does. Default 30.
    pub signing_key_days: NonZero<u16>,
    /// `DIWAN_IDENTITY_PASSWORD_RUNS`: how many passwords are hashed at a time, 19 MiB each. Default: one for each two
    /// cores, so that a rush of sign-ins leaves the other half to everybody else.
    pub password_runs: NonZero<usize>,
    /// `DIWAN_IDENTITY_PASSWORD_LINE`: how many more passwords may wait; the next is refused. Default: 64 a run.
    pub password_line: usize,
    /// `DIWAN_IDENTITY_FAILURES_PER_ADDRESS` (default 10) and `DIWAN_IDENTITY_FAILURES_PER_IP` (default 100): so many
    /// failures in ten minutes bring delays.
    pub limits: Limits,
}

/// Where e-mails go.
#[derive(Clone)]
pub enum MailRoute {
    /// `DIWAN_IDENTITY_SMTP`: to an SMTP server, by a URL in the form that lettre reads. It may hold a password.
    Smtp(String),
    /// `DIWAN_IDENTITY_MAIL_FOLDER` (default `.diwan/mail`), where no server is set: a file each.
    Folder(PathBuf),
}

impl Config {
    /// Reads the settings.
    ///
    /// # Errors
    /// Names the variable that is missing or cannot be read.
    pub fn read(env: &Env) -> Result<Self, EnvError> {
        let cores = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let runs = NonZero::new(cores.get() / 2).unwrap_or(NonZero::<usize>::MIN);
        let password_runs = env.parse("DIWAN_IDENTITY_PASSWORD_RUNS", "a number from 1", runs)?;
        let sender = "Diwan <no-reply@localhost>".to_owned();
        let sender = env.parse("DIWAN_IDENTITY_MAIL_FROM", "a sender such as Diwan <no-reply@example.com>", sender)?;
        Ok(Self {
            database_url: env.require("DIWAN_IDENTITY_DATABASE_URL")?.to_owned(),
            public_url: env.get("DIWAN_PUBLIC_URL").unwrap_or("http://localhost:7000").trim_end_matches('/').to_owned(),
            mail_from: sender
                .parse()
                .map_err(|_| unreadable("DIWAN_IDENTITY_MAIL_FROM", "a sender such as Diwan <no-reply@example.com>"))?,
            mail: mail_route(env)?,
            whatsapp: whatsapp_route(env)?,
            closing_grace: DAY
                * u32::from(
                    env.parse("DIWAN_IDENTITY_CLOSING_GRACE_DAYS", "a number of days from 1", GRACE_DAYS)?.get(),
                ),
            recovery_delay: Duration::from_hours(
                env.parse("DIWAN_IDENTITY_FACTOR_RECOVERY_HOURS", "a number of hours from 1", RECOVERY_HOURS)?
                    .get()
                    .into(),
            ),
            retention: DAY
                * u32::from(env.parse("DIWAN_IDENTITY_RETENTION_DAYS", "a number of days from 1", GRACE_DAYS)?.get()),
            export_kept: DAY
                * u32::from(env.parse("DIWAN_IDENTITY_EXPORT_DAYS", "a number of days from 1", EXPORT_DAYS)?.get()),
            blobs: env.path("DIWAN_IDENTITY_BLOBS", ".diwan/blobs"),
            audit_heads: env.get("DIWAN_IDENTITY_AUDIT_HEADS").map(PathBuf::from),
            secret_keys: env.get("DIWAN_IDENTITY_SECRET_KEYS_FILE").map(PathBuf::from),
            signing_key_days: env.parse(
                "DIWAN_IDENTITY_SIGNING_KEY_DAYS",
                "a number of days from 1",
                SIGNING_KEY_DAYS,
            )?,
            password_runs,
            password_line: env.parse(
                "DIWAN_IDENTITY_PASSWORD_LINE",
                "a number",
                password_runs.get().saturating_mul(LINE_A_RUN),
            )?,
            limits: Limits {
                per_address: env.parse(
                    "DIWAN_IDENTITY_FAILURES_PER_ADDRESS",
                    "a number from 1",
                    FAILURES_PER_ADDRESS,
                )?,
                per_ip: env.parse("DIWAN_IDENTITY_FAILURES_PER_IP", "a number from 1", FAILURES_PER_IP)?,
            },
        })
    }
}

fn mail_route(env: &Env) -> Result<MailRoute, EnvError> {
    match env.get("DIWAN_IDENTITY_SMTP") {
        None => Ok(MailRoute::Folder(env.path("DIWAN_IDENTITY_MAIL_FOLDER", ".diwan/mail"))),
        Some(url) => smtp_url(url).map(MailRoute::Smtp).ok_or_else(|| {
            unreadable(
                "DIWAN_IDENTITY_SMTP",
                "smtps://[user:password@]host[:port], starttls://..., or smtp://... on the loopback interface",
            )
        }),
    }
}

/// `DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID` with a token in `DIWAN_IDENTITY_WHATSAPP_TOKEN_FILE` or `DIWAN_IDENTITY_WHATSAPP_TOKEN`; where
/// it is not set, `DIWAN_IDENTITY_WHATSAPP_FOLDER` (default `.diwan/whatsapp`).
fn whatsapp_route(env: &Env) -> Result<Route, EnvError> {
    let Some(id) = env.get("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID") else {
        return Ok(Route::Folder(env.path("DIWAN_IDENTITY_WHATSAPP_FOLDER", ".diwan/whatsapp")));
    };
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unreadable("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "digits"));
    }
    let token = match env.get("DIWAN_IDENTITY_WHATSAPP_TOKEN_FILE") {
        Some(file) => TokenSource::File(file.into()),
        None => TokenSource::Given(Zeroizing::new(env.require("DIWAN_IDENTITY_WHATSAPP_TOKEN")?.to_owned())),
    };
    let limit = env.millis("DIWAN_IDENTITY_WHATSAPP_LIMIT_MS", WHATSAPP_LIMIT)?;
    if limit > WHATSAPP_LIMIT {
        return Err(unreadable("DIWAN_IDENTITY_WHATSAPP_LIMIT_MS", "at most 15000"));
    }
    let base = env.get("DIWAN_IDENTITY_WHATSAPP_URL").unwrap_or(WHATSAPP);
    let base =
        Url::parse(base).ok().filter(|url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url));
    Ok(Route::Cloud(Settings {
        base: base
            .ok_or_else(|| unreadable("DIWAN_IDENTITY_WHATSAPP_URL", "https://..., or http://... on loopback"))?,
        phone_number_id: id.to_owned(),
        token,
        prefix: env.get("DIWAN_IDENTITY_WHATSAPP_TEMPLATE_PREFIX").unwrap_or("diwan_").to_owned(),
        limit,
    }))
}

/// In the form that lettre reads. Invitations open accounts: they leave this machine encrypted or not at all.
fn smtp_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    url.host()?;
    url.set_query(None);
    match url.scheme() {
        "smtps" => Some(url.into()),
        "smtp" if is_loopback(&url) => Some(url.into()),
        "starttls" => {
            url.set_query(Some("tls=required"));
            Some(url.as_str().replacen("starttls", "smtp", 1))
        }
        _ => None,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // Schemes that the URL standard does not know keep an address as a domain.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn unreadable(variable: &str, expected: &'static str) -> EnvError {
    EnvError::Unreadable(variable.to_owned(), expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_leaves_the_machine_encrypted_or_not_at_all() {
        let plain = ["smtp://127.0.0.1:2525", "smtp://localhost:25", "smtp://[::1]:25"];
        for url in plain {
            assert_eq!(smtp_url(url).as_deref(), Some(url));
        }
        assert_eq!(smtp_url("smtps://u:p@mail.example.com").as_deref(), Some("smtps://u:p@mail.example.com"));
        assert_eq!(
            smtp_url("starttls://mail.example.com:587").as_deref(),
            Some("smtp://mail.example.com:587?tls=required")
        );
        for refused in ["smtp://mail.example.com:25", "smtp://10.0.0.1", "http://localhost", "localhost:25", "smtp:"] {
            assert_eq!(smtp_url(refused), None, "{refused}");
        }
    }

    #[test]
    fn whatsapp_gets_its_token_encrypted_or_on_this_machine_only() {
        let env = |url: &str| {
            Env::default()
                .with("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "17")
                .with("DIWAN_IDENTITY_WHATSAPP_TOKEN", "s3cret")
                .with("DIWAN_IDENTITY_WHATSAPP_URL", url)
        };
        for url in ["https://graph.facebook.com/v25.0", "http://127.0.0.1:8080/v25.0", "http://localhost:1", ""] {
            assert!(matches!(whatsapp_route(&env(url)), Ok(Route::Cloud(_))), "{url}");
        }
        let bad =
            ["http://graph.facebook.com/v25.0", "http://10.0.0.1", "ftp://localhost", "graph.facebook.com"].map(env);
        let missing = Env::default().with("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "17");
        let path = env("").with("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "../17");
        let slow = env("").with("DIWAN_IDENTITY_WHATSAPP_LIMIT_MS", "60000");
        for env in bad.into_iter().chain([missing, path, slow]) {
            let error = whatsapp_route(&env).err().unwrap().to_string();
            assert!(error.contains("DIWAN_IDENTITY_WHATSAPP_") && !error.contains("s3cret"), "{error}");
        }
        assert!(matches!(whatsapp_route(&Env::default()), Ok(Route::Folder(_))));
    }

    #[test]
    fn a_secret_in_a_bad_setting_is_not_shown() {
        let env = Env::default()
            .with("DIWAN_IDENTITY_DATABASE_URL", "postgres://localhost/identity")
            .with("DIWAN_IDENTITY_SMTP", "smtp://user:s3cret@mail.example.com");
        let error = Config::read(&env).err().unwrap().to_string();
        assert!(error.contains("DIWAN_IDENTITY_SMTP") && !error.contains("s3cret"), "{error}");
    }
}
