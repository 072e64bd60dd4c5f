//! What a person is told when it happens: to his confirmed WhatsApp number, or by e-mail where he has none or it cannot be reached.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{Account, User},
    error::Error,
    mail::{Letter, MAILS, Mail, local},
    store::jobs::{self, Effect, Job},
    whatsapp::Template,
};

/// Something that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "alert")]
pub enum Alert {
    /// Somebody signed in on a device that was not known.
    NewDevice {
        /// What the client calls itself; may be empty.
        device: String,
        /// Where from, if that is known.
        address: Option<IpAddr>,
    },
    /// The password is another one.
    PasswordChanged,
    /// A second factor was added, removed or replaced.
    FactorChanged,
    /// An operator has begun to take the second factors away that somebody says he has lost.
    FactorRecoveryBegun {
        /// When they go.
        due: Timestamp,
    },
    /// A service principal may act for him from now on.
    ActingBegun {
        /// What it is called.
        principal: String,
    },
    /// A mail server refuses the credentials of a mailbox.
    MailboxNeedsCredentials {
        /// The mailbox's address.
        mailbox: String,
    },
    /// A payment was refused.
    PaymentFailed {
        /// The invoice's number.
        invoice: String,
        /// What was to be paid, with the currency.
        amount: String,
    },
}

/// Which way an alert takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// To the confirmed WhatsApp number; without one by e-mail.
    Number,
    /// By e-mail: the number is what changed, or could not be reached.
    Mail,
}

/// Queues an alert to a user in the transaction of what happened at `now`. Whoever commits wakes the workers, or they find it within
/// seconds.
pub async fn queue(
    tx: &mut PgConnection,
    account: Uuid,
    user_id: Uuid,
    alert: Alert,
    now: Timestamp,
) -> Result<(), Error> {
    queue_by(tx, account, user_id, alert, Way::Number, now).await
}

/// The same, by a given way.
pub async fn queue_by(
    tx: &mut PgConnection,
    account: Uuid,
    user_id: Uuid,
    alert: Alert,
    way: Way,
    now: Timestamp,
) -> Result<(), Error> {
    let job = Job::new(account, Effect::SendAlert { user_id, alert, at: now, way });
    jobs::insert(tx, &job, now, now).await
}

impl Alert {
    /// As an e-mail.
    pub fn letter(&self, account: &Account, user: &User, at: Timestamp) -> Letter {
        let values = self.values(account, at);
        let mut values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        values.push(("name", &user.name));
        self.mail().letter(user.language, &values)
    }

    /// As a message: the template, and its parameters in their order.
    pub fn template(&self, account: &Account, at: Timestamp) -> (Template, Vec<String>) {
        let parameters = self.values(account, at).into_iter().map(|(_, value)| value).collect();
        let template = match self {
            Self::NewDevice { .. } => Template::NewDevice,
            Self::PasswordChanged => Template::PasswordChanged,
            Self::FactorChanged => Template::FactorChanged,
            Self::FactorRecoveryBegun { .. } => Template::FactorRecoveryBegun,
            Self::ActingBegun { .. } => Template::ActingBegun,
            Self::MailboxNeedsCredentials { .. } => Template::MailboxNeedsCredentials,
            Self::PaymentFailed { .. } => Template::PaymentFailed,
        };
        (template, parameters)
    }

    fn mail(&self) -> &'static Mail {
        match self {
            Self::NewDevice { .. } => &MAILS.new_device,
            Self::PasswordChanged => &MAILS.password_changed,
            Self::FactorChanged => &MAILS.factor_changed,
            Self::FactorRecoveryBegun { .. } => &MAILS.factor_recovery_begun,
            Self::ActingBegun { .. } => &MAILS.acting_begun,
            Self::MailboxNeedsCredentials { .. } => &MAILS.mailbox_needs_credentials,
            Self::PaymentFailed { .. } => &MAILS.payment_failed,
        }
    }

    /// What stands in it beside the person's name.
    fn values(&self, account: &Account, at: Timestamp) -> Vec<(&'static str, String)> {
        let mut values = vec![("company", account.name.clone()), ("time", local(at, &account.time_zone))];
        let known = |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
        match self {
            Self::NewDevice { device, address } => {
                values.push(("device", known(device)));
                values.push(("address", known(&address.map(|address| address.to_string()).unwrap_or_default())));
            }
            Self::PasswordChanged | Self::FactorChanged => {}
            Self::FactorRecoveryBegun { due } => values.push(("due", local(*due, &account.time_zone))),
            Self::ActingBegun { principal } => values.push(("principal", principal.clone())),
            Self::MailboxNeedsCredentials { mailbox } => values.push(("mailbox", mailbox.clone())),
            Self::PaymentFailed { invoice, amount } => {
                values.push(("invoice", invoice.clone()));
                values.push(("amount", amount.clone()));
            }
        }
        values
    }
}
