//! A reset password ends what was open by the old one.

use std::{fs, time::Duration};

use diwan_e2e::{
    door::{Door, Person, request_id},
    inbox::Inbox,
    installation::Topology,
};
use diwan_proto::{
    identity::v1::{
        RequestPasswordResetRequest, ResetPasswordRequest, credential_service_client::CredentialServiceClient,
    },
    team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient},
};
use diwan_testkit::eventually;
use sqlx::PgPool;
use tonic::Code;

use crate::support::{Fresh, sign_up, start};

const LIMIT: Duration = Duration::from_secs(30);

/// The token of the link that he was sent.
async fn token(fresh: &Fresh, person: &Person) -> String {
    let folder = fresh.installation.keys().with_file_name("mail-out");
    eventually("the link arrives", LIMIT, async || {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read(file.path()).ok()).find_map(|raw| {
            let mail = mail_parser::MessageParser::default().parse(&raw)?;
            mail.to()?.first()?.address().filter(|to| *to == person.user.email)?;
            let text = mail.body_text(0)?.into_owned();
            let (_, rest) = text.split_once("/password-resets/")?;
            Some(rest.split_whitespace().next()?.to_owned())
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_an_inbox_open_by_the_old_password_is_out_and_away_at_once() {
    // Only the end of a sign-in makes somebody OFFLINE before this is over.
    let grace = Duration::from_hours(1).as_millis().to_string();
    let fresh = start(Topology::Suite, &[("DIWAN_CONVERSATION_GRACE_MS", grace)]).await;
    let door = Door::open(fresh.installation.gateway()).await.unwrap();
    let owner = sign_up(&door, "Forgetful").await;
    let (mut inbox, _) = Inbox::open(&owner).await.unwrap();
    let conversation = PgPool::connect(&fresh.installation.database_url("conversation").unwrap()).await.unwrap();
    let offline = async || {
        let state = "select state = 'OFFLINE' from presence where user_id = $1::uuid";
        sqlx::query_scalar::<_, bool>(state).bind(&owner.user.id).fetch_one(&conversation).await.unwrap()
    };
    assert!(!offline().await);

    let mut credentials = CredentialServiceClient::new(door.way());
    let ask = RequestPasswordResetRequest { request_id: request_id(), email: owner.user.email.clone() };
    credentials.request_password_reset(ask).await.unwrap();
    let token = token(&fresh, &owner).await;
    let new_password = "a quiet harbour at dawn".to_owned();
    credentials.reset_password(ResetPasswordRequest { token, new_password }).await.unwrap();

    let (_, ended) = inbox.wait_for_end(LIMIT).await.unwrap();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    let refused = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    eventually("nobody believes that he is there", LIMIT, offline).await;
    conversation.close().await;
    fresh.installation.stop().await.unwrap();
}
