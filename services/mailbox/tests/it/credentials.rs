//! Credentials that a mail server no longer takes.

use std::sync::{Arc, Mutex};

use diwan_proto::{
    identity::v1::{
        AlertMailboxNeedsCredentialsRequest, AlertMailboxNeedsCredentialsResponse, AlertPaymentFailedRequest,
        AlertPaymentFailedResponse,
        alert_service_server::{AlertService, AlertServiceServer},
    },
    mailbox::v1::{Mailbox, MailboxState},
};
use diwan_testkit::eventually;
use diwan_transport::Methods;
use tonic::{Request, Response, Status};

use crate::support::{LIMIT, Office, SUPPORT};

/// Addresses that sign in with another password than the mailbox has.
const LOCKED: [&str; 2] = ["nobody@shop.example", "somebody@shop.example"];

/// In the place of an error, until the next.
const REMEMBERED: &str = "the one before";

/// Identity: the first calls find it away.
#[derive(Clone, Default)]
struct Identity(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    away: usize,
    all: Vec<AlertMailboxNeedsCredentialsRequest>,
}

#[tonic::async_trait]
impl AlertService for Identity {
    async fn alert_mailbox_needs_credentials(
        &self,
        request: Request<AlertMailboxNeedsCredentialsRequest>,
    ) -> Result<Response<AlertMailboxNeedsCredentialsResponse>, Status> {
        let mut asked = self.0.lock().unwrap();
        asked.all.push(request.into_inner());
        if asked.away > 0 {
            asked.away -= 1;
            return Err(Status::unavailable("as the test wants it"));
        }
        Ok(Response::new(AlertMailboxNeedsCredentialsResponse {}))
    }

    async fn alert_payment_failed(
        &self,
        _: Request<AlertPaymentFailedRequest>,
    ) -> Result<Response<AlertPaymentFailedResponse>, Status> {
        Err(Status::unimplemented("mailbox does not call it"))
    }
}

impl Identity {
    fn asked(&self) -> Vec<AlertMailboxNeedsCredentialsRequest> {
        self.0.lock().unwrap().all.clone()
    }
}

impl Office {
    /// Changes what the mailbox signs in as, behind the back of whoever is signed in.
    async fn sign_in_as(&self, mailbox: &Mailbox, user: &str) {
        let update = sqlx::query("update mailboxes set imap_user = $2 where id = $1::uuid");
        update.bind(&mailbox.id).bind(user).execute(&self.database.pool).await.unwrap();
    }

    /// State and error, as they are stored: the replica that was asked first is dead by then.
    async fn shown(&self) -> (String, String) {
        sqlx::query_as("select state, error from mailboxes").fetch_one(&self.database.pool).await.unwrap()
    }

    async fn told(&self) -> i64 {
        let count = sqlx::query_scalar("select count(*) from credential_alerts where told");
        count.fetch_one(&self.database.pool).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_told_once_until_the_mailbox_was_in_sync_again() {
    let office = Office::closed().await;
    for locked in LOCKED {
        office.host.set_password(locked, "a password of its own").unwrap();
    }
    let identity = Identity::default();
    identity.0.lock().unwrap().away = 2;
    let methods = Methods::new("identity").with(AlertServiceServer::new(identity.clone())).await;
    let front = methods.into_front(office.world.admission.clone(), &office.world.drain).unwrap();
    office.world.network.slot("identity").unwrap().fill(front);
    let env = office.env().with("DIWAN_MAILBOX_LEASE_MS", "1000");
    let replica = office.replica(env.clone());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    let mailbox = office.connect(office.settings()).await.unwrap();
    office.await_state(&mailbox.id, MailboxState::Synced).await;

    // Each replica signs in anew.
    let next = |old: crate::support::Replica, user: &'static str| {
        let (office, env, mailbox) = (&office, env.clone(), &mailbox);
        async move {
            old.kill();
            office.sign_in_as(mailbox, user).await;
            office.replica(env)
        }
    };
    let replica = next(replica, LOCKED[0]).await;
    eventually("identity has been asked", LIMIT, async || office.told().await == 1).await;
    assert_eq!(office.shown().await.0, "CREDENTIALS_REFUSED");
    let asked = identity.asked();
    assert_eq!(asked.len(), 3, "twice it was away");
    assert!(asked.iter().all(|request| *request == asked[0]), "the same request each time");
    assert_eq!((asked[0].address.as_str(), asked[0].user_id.as_str()), (SUPPORT, ""));
    assert_eq!(asked[0].account_id, mailbox.account_id);

    let forget = sqlx::query("update mailboxes set error = $1").bind(REMEMBERED);
    forget.execute(&office.database.pool).await.unwrap();
    let replica = next(replica, LOCKED[1]).await;
    eventually("it is refused again", LIMIT, async || office.shown().await.1 != REMEMBERED).await;
    assert_eq!(office.told().await, 1);
    let replica = next(replica, SUPPORT).await;
    eventually("it is in sync", LIMIT, async || office.shown().await.0 == "SYNCED").await;
    assert_eq!(identity.asked().len(), 3, "who has been told is not told again");
    assert_eq!(office.told().await, 0);

    let _replica = next(replica, LOCKED[0]).await;
    eventually("identity has been asked again", LIMIT, async || office.told().await == 1).await;
    let asked = identity.asked();
    assert!(asked.len() == 4 && asked[3].request_id != asked[0].request_id);
}
