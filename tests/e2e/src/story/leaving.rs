//! The owner deactivates an agent: his access ends everywhere, his conversations go on with others, his seat is free.

use std::time::{Duration, Instant};

use diwan_proto::{
    conversation::v1::{ListConversationsRequest, conversation_service_client::ConversationServiceClient},
    identity::v1::{
        DeactivateUserRequest, GetAccountRequest, RefreshSessionRequest, account_service_client::AccountServiceClient,
        session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
    },
    team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient},
};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::{
    LIMIT,
    cast::{Cast, seats_held},
    routing::loads,
};
use crate::{
    Failure,
    door::{Person, request_id},
    report::{Report, StepFailed},
};

const BOUND: Duration = Duration::from_secs(1);

pub(super) async fn an_agent_is_deactivated(cast: &mut Cast, report: &mut Report) -> Result<(), StepFailed> {
    let took =
        report.step("the owner deactivates Bruno; within a second he is refused everywhere", deactivate(cast)).await?;
    report.row("deactivation to the last refusal (3 services, refresh, open stream)", 5, Some(took));
    // He held three: she had room for one, the queue was empty.
    let left = loads(cast, LIMIT, 0, LIMIT - 1);
    report.step("one of his conversations goes to Amina, up to her limit; the others wait", left).await?;
    report.row("his conversations taken over / back in the queue", format!("1 / {}", LIMIT - 1), None);
    report.step("his seat is free", seats_held(&cast.owner, 2)).await
}

async fn deactivate(cast: &mut Cast) -> Result<Duration, Failure> {
    let bruno = cast.bruno.person.clone();
    let request = DeactivateUserRequest { request_id: request_id(), user_id: bruno.user.id.clone() };
    UserServiceClient::new(cast.owner.way()).deactivate_user(request).await?;
    let begun = Instant::now();
    let refused = async {
        while !refused_everywhere(&bruno).await? {
            sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, Failure>(begun.elapsed())
    };
    let calls = timeout(BOUND, refused).await.map_err(|_| "he still gets answers after a second")??;
    let (ended, _) = cast.bruno.inbox.wait_for_end(BOUND).await?;
    Ok(calls.max(ended.saturating_duration_since(begun)))
}

async fn refused_everywhere(person: &Person) -> Result<bool, Failure> {
    let refresh = RefreshSessionRequest { refresh_token: person.tokens.refresh_token.clone() };
    let answers = [
        AccountServiceClient::new(person.way()).get_account(GetAccountRequest {}).await.map(drop),
        TeamServiceClient::new(person.way()).list_teams(ListTeamsRequest::default()).await.map(drop),
        ConversationServiceClient::new(person.way())
            .list_conversations(ListConversationsRequest::default())
            .await
            .map(drop),
        SessionServiceClient::new(person.way()).refresh_session(refresh).await.map(drop),
    ];
    let mut all = true;
    for answer in answers {
        all &= is_refusal(answer)?;
    }
    Ok(all)
}

fn is_refusal(answer: Result<(), Status>) -> Result<bool, Failure> {
    match answer {
        Ok(()) => Ok(false),
        Err(status) if status.code() == Code::Unauthenticated => Ok(true),
        Err(status) => Err(status.into()),
    }
}
