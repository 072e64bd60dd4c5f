//! Conversations that somebody gives to somebody.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{ConversationState, HandOverConversationRequest, TransitionCause},
    identity::v1::UserState,
};
use diwan_runtime::{Clock as _, SystemClock, ids};
use tonic::Code;

use crate::{acts::ahead, support::Office};

fn refusal<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_assigns_above_the_limit_and_answer_and_record_say_so() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let first = office.arrive().await;
    office.held_by(&agent, first).await;
    let second = office.arrive().await;
    let answer = office.assign(&office.owner, second, &agent).await.unwrap();
    assert!(answer.over_limit);
    assert_eq!(answer.conversation.unwrap().holder_id, agent.user.to_string());
    let record = office.last_transition(second).await;
    assert_eq!((record.cause(), record.over_limit), (TransitionCause::Assigned, true));
    assert_eq!(record.actor_id, office.owner.user.to_string());
    // Again: he has it already.
    let again = office.assign(&office.owner, second, &agent).await.unwrap();
    assert_eq!(again.conversation.unwrap().version, record.version);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_members_of_the_team_can_be_given_something_and_only_by_who_may() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let other_team = office.second_team(0).await;
    let outsider = office.agent_of(other_team).await;
    let _inbox = office.watch(&agent).await;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let (owner, stranger) = (&office.owner, office.owner.colleague(Role::User));
    let not_assignable = (Code::FailedPrecondition, "NOT_ASSIGNABLE".to_owned());
    assert_eq!(refusal(office.assign(owner, id, &outsider).await), not_assignable);
    assert_eq!(refusal(office.assign(owner, id, &stranger).await), (Code::NotFound, "USER_NOT_FOUND".into()));
    office.set_user(&colleague, 2, UserState::Deactivated);
    office.until("select count(*) from users where not active", 1).await;
    assert_eq!(refusal(office.assign(owner, id, &colleague).await), not_assignable);
    // A user assigns nothing, hands over what he holds only, and sees no more than before.
    assert_eq!(refusal(office.assign(&agent, id, &agent).await).0, Code::PermissionDenied);
    let handed = office.hand_over(&outsider, id, (Some(other_team), None)).await;
    assert_eq!(refusal(handed), (Code::NotFound, "CONVERSATION_NOT_FOUND".into()));
    let waiting = office.deliver(office.mail_to(other_team)).await;
    let handed = office.hand_over(&outsider, waiting, (Some(office.team), None)).await;
    assert_eq!(refusal(handed), (Code::FailedPrecondition, "NOT_HOLDER".into()));
    let handed = office.hand_over(&agent, id, (Some(ids::new_id()), None)).await;
    assert_eq!(refusal(handed), (Code::NotFound, "TEAM_NOT_FOUND".into()));
    office.close(&agent, id).await.unwrap();
    assert_eq!(refusal(office.assign(owner, id, &agent).await), (Code::FailedPrecondition, "ALREADY_CLOSED".into()));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_to_a_colleague_frees_a_slot_and_takes_one() {
    let office = Office::open(1).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let _inbox = office.watch(&agent).await;
    let first = office.arrive().await;
    office.held_by(&agent, first).await;
    let next = office.arrive().await;
    let request = HandOverConversationRequest {
        request_id: "hand-1".into(),
        conversation_id: first.to_string(),
        team_id: String::new(),
        user_id: colleague.user.to_string(),
        note: String::new(),
    };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let request = office.world.request(&agent, request.clone());
        answers.push(office.handling().hand_over_conversation(request).await.unwrap().into_inner());
    }
    assert_eq!(answers[0], answers[1], "the retry gets the first answer");
    office.held_by(&colleague, first).await;
    // The slot is free for what waited.
    office.held_by(&agent, next).await;
    let record = office.last_transition(first).await;
    assert_eq!((record.cause(), record.over_limit), (TransitionCause::HandedOver, false));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_to_a_team_goes_to_its_queue_and_its_automatic_assignment() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let (agent, receiver) = (office.agent().await, office.agent_of(other).await);
    let _inbox = office.watch(&agent).await;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let moved = office.hand_over(&agent, id, (Some(other), None)).await.unwrap().conversation.unwrap();
    assert_eq!((moved.state(), moved.team_id.as_str()), (ConversationState::Queued, other.to_string().as_str()));
    assert_eq!(refusal(office.get(&agent, id).await).0, Code::NotFound, "it is with others now");
    let _receiver_s = office.watch(&receiver).await;
    office.held_by(&receiver, id).await;
    // To a person of another team at once.
    let back = office.hand_over(&receiver, id, (Some(office.team), Some(agent.user))).await.unwrap();
    assert_eq!(back.conversation.unwrap().team_id, office.team.to_string());
    office.held_by(&agent, id).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_goes_to_another_queue_keeps_the_time_since_when_it_waits() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let id = office.arrive().await;
    let before = office.get(&office.owner, id).await.unwrap().queued_at;
    let moved = office.hand_over(&office.owner, id, (Some(other), None)).await.unwrap().conversation.unwrap();
    assert_eq!((moved.queued_at, moved.state()), (before, ConversationState::Queued));
    assert_eq!(moved.team_id, other.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snoozed_one_that_is_handed_over_is_open_and_takes_the_receivers_slot_only() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let _inbox = office.watch(&agent).await;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let until = ahead(SystemClock.now(), Duration::from_hours(1));
    office.snooze(&agent, id, until).await.unwrap();
    let handed = office.hand_over(&office.owner, id, (None, Some(colleague.user))).await.unwrap();
    assert_eq!(handed.conversation.unwrap().snoozed_until, None);
    office.held_by(&colleague, id).await;
    office.audit().await;
}
