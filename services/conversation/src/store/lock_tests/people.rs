//! Who is there.

use std::time::Duration;

use diwan_access::User;
use diwan_proto::access::v1::Role;
use diwan_runtime::{Clock as _, SystemClock, clock::after, ids};

use super::{Middle, run};
use crate::{
    flow::presence::{enter, leave},
    store::presence::{self, NewSession},
};

const LEASE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn who_belongs_to_no_team_and_comes_back_while_he_is_taken_for_gone_is_there() {
    let middle = Middle::new().await;
    let account = middle.account;
    let user = ids::new_id();
    middle
        .run(&format!(
            "insert into users (account_id, id, role, active, version) values ('{account}', '{user}', 3, true, 1);
             insert into presence (account_id, user_id, state, since, version) values ('{account}', '{user}', 'ACTIVE', now(), 1)"
        ))
        .await;
    let now = SystemClock.now();
    let caller = User {
        account_id: account,
        user_id: user,
        session_id: ids::new_id(),
        role: Role::User,
        grants: Vec::new(),
        actor: None,
    };
    let session = NewSession { id: ids::new_id(), sign_in: caller.session_id, lease_until: after(now, LEASE) };
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    enter(&mut first, &caller, session, Duration::ZERO, now).await.unwrap();
    let second = tokio::spawn(async move {
        leave(&mut second, account, user, Duration::ZERO, now).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from presence where state = 'ACTIVE'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_being_extended_is_not_forgotten() {
    let middle = Middle::new().await;
    let Middle { account, user, .. } = middle;
    middle
        .run(&format!(
            "insert into live_sessions (account_id, id, user_id, sign_in, lease_until)
                 values ('{account}', '{user}', '{user}', '{user}', now() - interval '1 minute')"
        ))
        .await;
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    run(&mut first, "update live_sessions set lease_until = now() + interval '1 minute'".into()).await;
    let second = tokio::spawn(async move {
        presence::forget_sessions(&mut second, account, user, Some(SystemClock.now())).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from live_sessions").await, 1);
}
