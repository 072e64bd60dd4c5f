//! Brings answers to the mailbox service, until it has them.

use std::{sync::Arc, time::Duration};

use diwan_proto::mailbox::v1::send_service_client::SendServiceClient;
use diwan_runtime::{
    backoff::delay_after,
    clock::after,
    worker::{chain, supervise},
};
use diwan_transport::Transport;
use futures::{StreamExt as _, stream};
use sqlx::PgConnection;
use tonic::{Code, Status};

use crate::{
    Error,
    app::App,
    domain::state::Delivery,
    flow::deliver,
    store::sends::{self, Try},
};

/// Rung when there is something to send.
pub const BELL: &str = "sends";

/// How many are tried at the same time.
const ABREAST: usize = 8;
const MOST: i64 = 50;
/// Longer than a call may take: nobody else tries the same message meanwhile.
const LEASE: Duration = Duration::from_mins(1);
const CALL: Duration = Duration::from_secs(20);
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_mins(5);
/// How long to wait for the bell.
const LOOK: Duration = Duration::from_secs(5);

/// Starts it. `mailbox` signs as this service.
pub fn start(app: &Arc<App>, mailbox: Transport) {
    let (sender, mailbox) = (app.clone(), SendServiceClient::new(mailbox.within(CALL)));
    supervise(&app.drain, "sender", move || run(sender.clone(), mailbox.clone()));
}

async fn run(app: Arc<App>, mailbox: SendServiceClient<Transport>) -> Result<(), Error> {
    let mut woken = app.database.wake().subscribe(BELL);
    loop {
        let due = sends::take_due(app.database.pool(), app.clock.now(), LEASE, MOST).await?;
        if due.is_empty() {
            woken.within(LOOK).await;
            continue;
        }
        let tries = due.into_iter().map(|send| attempt(&app, mailbox.clone(), send));
        let outcomes: Vec<_> = stream::iter(tries).buffer_unordered(ABREAST).collect().await;
        outcomes.into_iter().collect::<Result<(), Error>>()?;
    }
}

/// One message. Sending it again does no harm: the mailbox service sends each message id once.
async fn attempt(app: &App, mut mailbox: SendServiceClient<Transport>, send: Try) -> Result<(), Error> {
    let mail = sends::mail(app.database.pool(), send).await?;
    match mailbox.send_mail(mail).await {
        Ok(_) => app.database.transaction("sent", async |tx: &mut PgConnection| sends::delete(tx, send).await).await,
        Err(status) if is_final(&status) => give_up(app, send, &status).await,
        Err(status) => {
            let failures = u32::try_from(send.attempt - 1).unwrap_or_default();
            let delay = delay_after(failures, FIRST_DELAY, LONGEST_DELAY);
            tracing::warn!(message = %send.message, attempt = send.attempt, error = chain(&status), "a message waits for its next try");
            sends::put_off(app.database.pool(), send, after(app.clock.now(), delay)).await
        }
    }
}

/// Whether trying again cannot help. Everything else is tried for ever: the answer is promised, and an outage ends.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange)
}

async fn give_up(app: &App, send: Try, status: &Status) -> Result<(), Error> {
    tracing::warn!(message = %send.message, error = chain(status), "a message will not be sent");
    let now = app.clock.now();
    app.database
        .transaction("give up", async |tx: &mut PgConnection| {
            deliver::note(tx, send.account, send.message, Delivery::Failed, status.message(), now).await?;
            sends::delete(tx, send).await
        })
        .await
}
