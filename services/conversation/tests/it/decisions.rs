//! Why conversations went where they went, and why they still wait.

use diwan_proto::{
    conversation::v1::{
        DecisionKind, ExplainRoutingRequest, ExplainRoutingResponse, PassedOverReason, RoutingVia, TransitionCause,
        WaitReason, decision_service_client::DecisionServiceClient,
    },
    team::v1::{Shift, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{Clock, SystemClock};
use diwan_testkit::{Person, eventually};
use jiff::tz::TimeZone;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{LIMIT, Office};

async fn explain_in(
    office: &Office,
    person: &Person,
    id: Uuid,
    language: &'static str,
) -> Result<ExplainRoutingResponse, Status> {
    let request = ExplainRoutingRequest { conversation_id: id.to_string() };
    let mut request = office.world.request(person, request);
    request.metadata_mut().insert("accept-language", language.parse().unwrap());
    let mut client = DecisionServiceClient::new(office.world.to("conversation"));
    Ok(client.explain_routing(request).await?.into_inner())
}

async fn explain(office: &Office, person: &Person, id: Uuid) -> ExplainRoutingResponse {
    explain_in(office, person, id, "en").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_out_names_the_one_who_got_it_and_why_the_others_did_not() {
    let office = Office::open(2).await;
    let (one, other, away) = (office.agent().await, office.agent().await, office.agent().await);
    let _inboxes = (office.watch(&one).await, office.watch(&other).await);
    let first = office.arrive().await;
    eventually("it is given out", LIMIT, async || {
        !office.get(&office.owner, first).await.unwrap().holder_id.is_empty()
    })
    .await;
    let id = office.arrive().await;
    eventually("it is given out", LIMIT, async || !office.get(&office.owner, id).await.unwrap().holder_id.is_empty())
        .await;
    let holder = office.get(&office.owner, id).await.unwrap().holder_id;
    let answer = explain(&office, &office.owner, id).await;
    assert_eq!(answer.wait, None);
    let causes: Vec<_> = answer.steps.iter().map(|step| step.transition.as_ref().unwrap().cause()).collect();
    assert_eq!(causes, [TransitionCause::Arrival, TransitionCause::Automatic]);
    assert!(answer.steps[0].decision.is_none() && !answer.steps[0].decision_expired);
    let decision = answer.steps[1].decision.clone().unwrap();
    assert_eq!((decision.kind(), decision.assignment_limit, decision.in_hours), (DecisionKind::Batch, 2, true));
    assert_eq!((decision.candidate_count, decision.place, &decision.chosen_user_id), (3, 1, &holder));
    let reasons: Vec<_> = decision.candidates.iter().map(|c| (c.user_id.clone(), c.passed_over())).collect();
    let loser = if holder == one.user.to_string() { &other } else { &one };
    let expected = [
        (holder, PassedOverReason::Unspecified),
        (loser.user.to_string(), PassedOverReason::HigherShare),
        (away.user.to_string(), PassedOverReason::Offline),
    ];
    assert_eq!(reasons, expected);
    assert!(
        (decision.candidates[1].limit_share - 0.5).abs() < 1e-9 && decision.candidates[1].last_assigned_at.is_some()
    );

    let arabic = explain_in(&office, &office.owner, id, "ar").await.unwrap();
    let texts = arabic.steps.iter().map(|step| &step.text);
    let all = texts.chain(arabic.steps[1].decision.as_ref().unwrap().candidates.iter().map(|c| &c.text));
    for text in all {
        assert!(text.chars().any(|c| ('\u{600}'..'\u{700}').contains(&c)), "{text:?} is not Arabic");
    }

    sqlx::query("delete from decisions").execute(office.pool()).await.unwrap();
    let forgotten = explain(&office, &office.owner, id).await;
    assert!(forgotten.steps[1].decision.is_none() && forgotten.steps[1].decision_expired);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_says_why_and_what_somebody_took_above_his_limit_says_so() {
    let office = Office::open(1).await;
    let nobody = office.arrive().await;
    let wait = |answer: ExplainRoutingResponse| answer.wait.unwrap();
    assert_eq!(wait(explain(&office, &office.owner, nobody).await).reason(), WaitReason::NoMembers);
    let agent = office.agent().await;
    assert_eq!(wait(explain(&office, &office.owner, nobody).await).reason(), WaitReason::NobodyActive);
    let _inbox = office.watch(&agent).await;
    office.held_by(&agent, nobody).await;
    let (second, third) = (office.arrive().await, office.arrive().await);
    let answer = wait(explain(&office, &office.owner, third).await);
    assert_eq!((answer.reason(), answer.position), (WaitReason::AllAtLimit, 2));
    assert!(answer.text.contains('1') && answer.waiting_since.is_some(), "{answer:?}");
    let decision = answer.decision.unwrap();
    assert_eq!((decision.chosen_user_id.as_str(), decision.left_waiting), ("", 2));
    assert_eq!(decision.candidates[0].passed_over(), PassedOverReason::AtLimit);

    office.take(&agent, second).await.unwrap();
    let taken = explain(&office, &office.owner, second).await.steps.pop().unwrap();
    let transition = taken.transition.unwrap();
    assert_eq!((transition.cause(), transition.over_limit), (TransitionCause::Taken, true));
    assert_eq!(transition.actor_id, agent.user.to_string());
    assert!(taken.text.contains("limit"), "{}", taken.text);

    office.set_team(office.team, 2, |team| {
        team.assignment_limit = 1;
        (team.working_hours, team.time_zone) = (Some(the_day_after_tomorrow()), "UTC".into());
    });
    office.until("select count(*) from teams where not open", 1).await;
    let answer = wait(explain(&office, &office.owner, third).await);
    assert_eq!((answer.reason(), answer.position), (WaitReason::OutOfHours, 1));
    assert!(answer.opens_at.is_some() && answer.text.contains("UTC"), "{answer:?}");
    assert_eq!(answer.decision.unwrap().candidates[0].passed_over(), PassedOverReason::OutOfHours);
}

fn the_day_after_tomorrow() -> WorkingHours {
    let today = SystemClock.now().to_zoned(TimeZone::UTC).weekday().to_monday_one_offset();
    let weekday = Weekday::try_from(i32::from((today + 1) % 7 + 1)).unwrap();
    let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
    WorkingHours { days: vec![WorkingDay { weekday: weekday.into(), shifts }], holidays: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn colleagues_learn_nothing_of_each_others_load_and_strangers_nothing_at_all() {
    let office = Office::open(0).await;
    let (one, other) = (office.agent().await, office.agent().await);
    let _inboxes = (office.watch(&one).await, office.watch(&other).await);
    let id = office.arrive().await;
    eventually("it is given out", LIMIT, async || !office.get(&office.owner, id).await.unwrap().holder_id.is_empty())
        .await;
    let held_by_one = office.get(&office.owner, id).await.unwrap().holder_id == one.user.to_string();
    let (holder, stranger) = if held_by_one { (&one, &other) } else { (&other, &one) };
    let decision = explain(&office, holder, id).await.steps.pop().unwrap().decision.unwrap();
    let seen: Vec<_> = decision.candidates.iter().map(|candidate| candidate.user_id.clone()).collect();
    assert_eq!((seen, decision.candidate_count), (vec![holder.user.to_string()], 2));
    for person in [stranger, &Person::owner()] {
        let refused = explain_in(&office, person, id, "en").await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_matched_is_named_to_whoever_may_see_rules() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    sqlx::query(
        r#"insert into routing_rules (account_id, id, position, name, conditions, team_id, add_topic_ids, version, created_at)
           values ($1, $2, 0, 'Lamps', '{"keywords": ["lamp"]}', $3, '{}', 3, now())"#,
    )
    .bind(office.owner.account)
    .bind(Uuid::from_u128(7))
    .bind(office.team)
    .execute(office.pool())
    .await
    .unwrap();
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let step = explain(&office, &office.owner, id).await.steps.remove(0);
    let origin = step.origin.unwrap();
    assert_eq!((origin.via(), origin.rule_name.as_str(), origin.rule_version), (RoutingVia::Rule, "Lamps", 3));
    assert!(!origin.rule_changed && step.text.contains("Lamps"), "{}", step.text);
    let step = explain(&office, &agent, id).await.steps.remove(0);
    assert_eq!(step.origin.unwrap().rule_name, "");
    assert!(!step.text.contains("Lamps"), "{}", step.text);
    sqlx::query("delete from routing_rules").execute(office.pool()).await.unwrap();
    assert!(explain(&office, &office.owner, id).await.steps.remove(0).origin.unwrap().rule_changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_an_offer_was_refused_is_told_to_whom_it_was_made_and_to_who_directs_and_to_no_colleague() {
    let office = Office::open(0).await;
    let (former, colleague) = (office.agent().await, office.agent().await);
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    office.take(&former, id).await.unwrap();
    office.close(&former, id).await.unwrap();
    assert_eq!(office.answers(&mail, "It is broken again.").await, id);
    for (person, why) in [(&office.owner, true), (&former, true), (&colleague, false)] {
        let step = explain(&office, person, id).await.steps.pop().unwrap();
        assert!(step.text.contains("he could not get it"), "{}", step.text);
        assert_eq!(step.text.contains("Was not there"), why, "{}", step.text);
    }
}
