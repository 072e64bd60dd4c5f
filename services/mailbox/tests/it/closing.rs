//! An account that is closed.

use std::time::Duration;

use diwan_proto::{
    conversation::v1::DeliveryState,
    identity::v1::{Account, AccountChanged, AccountState},
    mailbox::v1::ConnectMailboxRequest,
};
use diwan_testkit::{FakeFeed, eventually, reason};

use crate::{
    scripted::{Deed, Smtp},
    support::{LIMIT, Office, SUPPORT, answer, question},
};

/// An office, and the feed of its identity service.
async fn office() -> (Office, FakeFeed) {
    let (office, feed) = (Office::closed().await, FakeFeed::default());
    let identity = feed.methods("identity").await.into_front(office.world.admission.clone(), &office.world.drain);
    office.world.network.slot("identity").unwrap().fill(identity.unwrap());
    (office, feed)
}

impl Office {
    fn tell(&self, feed: &FakeFeed, version: i64, state: AccountState) {
        let account = self.owner.account;
        let changed = Account { id: account.to_string(), version, state: state.into(), ..Account::default() };
        feed.write(account, account, version, &AccountChanged { account: Some(changed) });
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_of_a_closing_account_go_on_and_those_of_a_closed_one_rest_at_once() {
    let (office, feed) = office().await;
    let smtp = Smtp::start(&[Deed::Accept, Deed::Answer("451 4.3.0 Later"), Deed::Accept]).await;
    // So that neither the end of the leases stops anything, nor the second mail is tried again. A lost wake-up costs ten seconds.
    let env = office.env().with("DIWAN_MAILBOX_LEASE_MS", "60000").with("DIWAN_MAILBOX_SEND_RETRY_MS", "600000");
    let env = env.with("DIWAN_MAILBOX_IDLE_MS", "5000");
    let first = office.replica(env.clone());
    office.world.network.slot("mailbox").unwrap().fill(first.front.clone());
    let settings = ConnectMailboxRequest { smtp: Some(smtp.settings()), ..office.settings() };
    let mailbox = office.connect(settings).await.unwrap();
    let _second = office.replica(env);

    office.tell(&feed, 2, AccountState::Closing);
    eventually("the event is taken in", LIMIT, async || {
        office.count("select count(*) from feed_cursors where sequence = 1").await == 1
    })
    .await;
    office.deliver(SUPPORT, &question(1)).await;
    office.conversation.await_ingested(1).await;
    office.send(&mailbox, answer()).await.unwrap();
    assert_eq!(office.conversation.await_report().await.delivery(), DeliveryState::Sent);
    office.send(&mailbox, answer()).await.unwrap();
    let put_off = "select count(*) from outgoing where state = 'PENDING' and attempts = 1 and error <> ''";
    eventually("a mail waits for its next try", LIMIT, async || office.count(put_off).await == 1).await;

    office.tell(&feed, 3, AccountState::Closed);
    eventually("the mailbox is nobody's", LIMIT, async || office.count("select count(*) from leases").await == 0).await;
    let given_up = "select count(*) from outgoing where state = 'FAILED' and error = 'the account is closed'";
    assert_eq!(office.count(given_up).await, 1);
    assert_eq!(reason(&office.send(&mailbox, answer()).await.unwrap_err()), "MAILBOX_NOT_FOUND");
    let mut number = 1;
    eventually("nobody is signed in to the mailbox", LIMIT, async || {
        number += 1;
        let before = office.count("select count(*) from messages").await;
        office.deliver(SUPPORT, &question(number)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        office.count("select count(*) from messages").await == before
    })
    .await;
    assert_eq!(smtp.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_connected_while_its_account_closed_is_worked_on_by_nobody() {
    let (office, feed) = office().await;
    let replica = office.replica(office.env());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    office.tell(&feed, 2, AccountState::Closed);
    eventually("the account is closed", LIMIT, async || {
        office.count("select count(*) from closed_accounts").await == 1
    })
    .await;
    office.connect(office.settings()).await.unwrap();
    // The next replica looks for free mailboxes before it takes anything else in.
    let other = office.replica(office.env());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(office.count("select count(*) from leases where owner is not null").await, 0);
    drop(other);
}
