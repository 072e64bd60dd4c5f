//! What leaves by WhatsApp: codes and alerts, as jobs of the queue.
//!
//! The API knows no key that would make it take a message once. So a message is sent again only where it surely was not taken: the server
//! could not be reached, or said so. When it is not known, because the server fell silent with the message in its hands or this process
//! died with it, a code is not sent again (who waits for it asks for another), and an alert goes by e-mail instead.

use diwan_proto::identity::v1::UserState;
use diwan_runtime::worker::chain;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    alerts::{self, Alert, Way},
    codes,
    domain::{Bound, PhoneNumber, Purpose, User},
    effects::Effects,
    error::Error,
    store::{
        accounts,
        jobs::{self, Job},
        numbers, users,
    },
    whatsapp::{Content, Message, SendError},
};

/// So often an alert is tried at a number before it goes by e-mail: within about a quarter of an hour.
const TRIES: i32 = 10;

/// How a try ended that was no success.
enum Unsent {
    /// It is tried again later.
    Later(SendError),
    /// It will not be tried again.
    Never,
}

impl Effects {
    /// Sends the code that confirms a number, if it still waits for it.
    pub(crate) async fn send_number_code(&self, job: &Job, user: Uuid, confirmation: Uuid) -> Result<(), Error> {
        let mut connection = self.database.pool().acquire().await?;
        let pending = numbers::find(&mut connection, job.account_id, user).await?.pending;
        drop(connection);
        let Some(pending) = pending.filter(|pending| pending.confirmation == confirmation) else { return Ok(()) };
        let bound = Bound { account: job.account_id, purpose: Purpose::ConfirmNumber, request: confirmation };
        self.send_code(job, user, pending.number, bound, pending.until).await
    }

    /// Sends the code that answers a challenge to the user's number, if he has one.
    pub(crate) async fn send_sign_in_code(
        &self,
        job: &Job,
        user: Uuid,
        challenge: Uuid,
        good_until: Timestamp,
    ) -> Result<(), Error> {
        let mut connection = self.database.pool().acquire().await?;
        let number = numbers::confirmed(&mut connection, job.account_id, user).await?;
        drop(connection);
        let Some(number) = number else { return Ok(()) };
        let bound = Bound { account: job.account_id, purpose: Purpose::SignIn, request: challenge };
        self.send_code(job, user, number, bound, good_until).await
    }

    /// The code is made here and only its hash is stored: the message is the one place that has it. Each try makes a new one, which makes
    /// those before it worthless.
    async fn send_code(
        &self,
        job: &Job,
        user: Uuid,
        number: PhoneNumber,
        bound: Bound,
        good_until: Timestamp,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let Some(user) = self.active(job.account_id, user).await?.filter(|_| now < good_until) else { return Ok(()) };
        if job.interrupted {
            return Ok(());
        }
        let issue =
            self.database.transaction("issue code", async |tx: &mut PgConnection| codes::issue(tx, &bound, now).await);
        let (code, _) = issue.await?;
        let message = Message { to: number, language: user.language, content: Content::Code(code) };
        match self.hand_over(job, &message).await {
            Err(Unsent::Later(error)) => Err(Error::WhatsApp(error)),
            Err(Unsent::Never) | Ok(()) => Ok(()),
        }
    }

    /// Tells a user of something, if he may still sign in.
    pub(crate) async fn send_alert(
        &self,
        job: &Job,
        user: Uuid,
        alert: &Alert,
        at: Timestamp,
        way: Way,
    ) -> Result<(), Error> {
        let Some(user) = self.active(job.account_id, user).await? else { return Ok(()) };
        let mut connection = self.database.pool().acquire().await?;
        let account = accounts::get(&mut connection, job.account_id).await?;
        let number = numbers::confirmed(&mut connection, account.id, user.id).await?;
        drop(connection);
        let Some(to) = number.filter(|_| way == Way::Number) else {
            return self.courier.deliver(&user, alert.letter(&account, &user, at), job.id).await;
        };
        let (template, parameters) = alert.template(&account, at);
        let content = Content::Alert(template, parameters);
        match self.hand_over(job, &Message { to, language: user.language, content }).await {
            Ok(()) => Ok(()),
            Err(Unsent::Later(error)) if job.attempts < TRIES => Err(Error::WhatsApp(error)),
            Err(_) => self.send_by_mail_instead(job, user.id, alert, at).await,
        }
    }

    async fn active(&self, account: Uuid, user: Uuid) -> Result<Option<User>, Error> {
        let mut connection = self.database.pool().acquire().await?;
        Ok(users::find(&mut connection, account, user).await?.filter(|user| user.state == UserState::Active))
    }

    async fn hand_over(&self, job: &Job, message: &Message) -> Result<(), Unsent> {
        if job.interrupted {
            tracing::warn!(job = %job.id, account = %job.account_id, "a WhatsApp message may have been sent: it is not sent again");
            return Err(Unsent::Never);
        }
        let Err(error) = self.sender.send(message, job.id).await else { return Ok(()) };
        if error.is_repeatable() {
            return Err(Unsent::Later(error));
        }
        tracing::error!(job = %job.id, account = %job.account_id, to = ?message.to, error = chain(&error), "a WhatsApp message is given up");
        Err(Unsent::Never)
    }

    /// One transaction, so that the alert is never in both queues or in none.
    async fn send_by_mail_instead(&self, job: &Job, user: Uuid, alert: &Alert, at: Timestamp) -> Result<(), Error> {
        self.database
            .transaction("send alert by e-mail", async |tx: &mut PgConnection| {
                jobs::finish(tx, job).await?;
                alerts::queue_by(tx, job.account_id, user, alert.clone(), Way::Mail, at).await
            })
            .await?;
        self.wake();
        Ok(())
    }
}
