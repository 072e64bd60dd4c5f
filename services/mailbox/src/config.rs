//! Settings of the service.

use std::{path::PathBuf, time::Duration};

use diwan_runtime::{Env, env::EnvError};

use crate::reach::Reach;

/// What the environment says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where raw mail and attachments are kept.
    pub(crate) blobs: PathBuf,
    /// The keys that passwords are encrypted under. None: a file beside the key folder, made on the first start.
    pub(crate) secret_keys: Option<PathBuf>,
    /// Which addresses may be connected to.
    pub(crate) reach: Reach,
    /// How long a replica keeps a mailbox without a sign of life.
    pub(crate) lease: Duration,
    /// How long one IDLE lasts: a connection that died without a word costs a mailbox so much.
    pub(crate) idle: Duration,
    /// How often a server without IDLE is asked.
    pub(crate) poll: Duration,
    /// The first pause after an error of a mailbox, doubled up to [`Config::RETRY_LONGEST`].
    pub(crate) retry: Duration,
    /// The first pause before a mail that did not leave is tried again, doubled up to [`Config::SEND_RETRY_LONGEST`].
    pub(crate) send_retry: Duration,
    /// After so long a mail that did not leave fails.
    pub(crate) send_give_up: Duration,
    /// How long a server may take to answer for a mail that it has been given whole.
    pub(crate) send_answer: Duration,
}

impl Config {
    /// The longest pause between two tries to reach a mailbox.
    pub(crate) const RETRY_LONGEST: Duration = Duration::from_mins(5);
    /// The longest pause between two tries to send a mail.
    pub(crate) const SEND_RETRY_LONGEST: Duration = Duration::from_mins(15);

    pub(crate) fn read(env: &Env) -> Result<Self, EnvError> {
        let reach = match env.get("DIWAN_MAILBOX_ALLOW_PLAIN") {
            None => Reach::Remote,
            Some("loopback") => Reach::RemoteAndLoopback,
            Some(_) => return Err(EnvError::Unreadable("DIWAN_MAILBOX_ALLOW_PLAIN".into(), "nothing, or loopback")),
        };
        Ok(Self {
            blobs: env.path("DIWAN_MAILBOX_BLOBS", ".diwan/blobs"),
            secret_keys: env.get("DIWAN_MAILBOX_SECRET_KEYS_FILE").map(PathBuf::from),
            reach,
            lease: env.millis("DIWAN_MAILBOX_LEASE_MS", Duration::from_secs(30))?,
            idle: env.millis("DIWAN_MAILBOX_IDLE_MS", Duration::from_mins(5))?,
            poll: env.millis("DIWAN_MAILBOX_POLL_MS", Duration::from_secs(15))?,
            retry: env.millis("DIWAN_MAILBOX_RETRY_MS", Duration::from_secs(1))?,
            send_retry: env.millis("DIWAN_MAILBOX_SEND_RETRY_MS", Duration::from_secs(10))?,
            send_give_up: env.millis("DIWAN_MAILBOX_SEND_GIVE_UP_MS", Duration::from_hours(24))?,
            // RFC 5321, 4.5.3.2.6: giving up sooner leaves mail of unknown fate behind.
            send_answer: env.millis("DIWAN_MAILBOX_SEND_ANSWER_MS", Duration::from_mins(10))?,
        })
    }
}
