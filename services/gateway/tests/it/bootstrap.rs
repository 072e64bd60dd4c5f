//! One call that tells a client all, also while a part is down.

use std::time::{Duration, Instant};

use diwan_proto::{
    access::v1::{Grant, Page, Role},
    billing::v1::{GetSubscriptionResponse, Subscription},
    conversation::v1::{Availability, AvailabilityState, GetMyAvailabilityResponse},
    gateway::v1::{GetBootstrapRequest, GetBootstrapResponse, bootstrap_service_client::BootstrapServiceClient},
    identity::v1::{Account, GetAccountResponse, GetUserResponse, User},
    team::v1::{ListMyTeamsResponse, Team},
};
use diwan_testkit::{Person, World, eventually, reason};
use diwan_transport::Front;
use tonic::{Code, Status};

use crate::support::{LIMIT, Scripted, gateway, start, world};

fn identity() -> Scripted {
    let user = User { name: "Ada".into(), ..User::default() };
    let account = Account { name: "Example".into(), ..Account::default() };
    Scripted::default()
        .says("GetUser", &GetUserResponse { user: Some(user) })
        .says("GetAccount", &GetAccountResponse { account: Some(account) })
}

fn team() -> Scripted {
    let teams = vec![Team { name: "Support".into(), ..Team::default() }];
    let led_team_ids = vec!["support".into()];
    Scripted::default().says("ListMyTeams", &ListMyTeamsResponse { teams, led_team_ids, page: None })
}

fn conversation() -> Scripted {
    let state = AvailabilityState::Active.into();
    let availability = Some(Availability { user_id: "me".into(), state, since: None });
    Scripted::default().says("GetMyAvailability", &GetMyAvailabilityResponse { availability })
}

fn billing() -> Scripted {
    Scripted::default()
        .says("GetSubscription", &GetSubscriptionResponse { subscription: Some(Subscription::default()) })
}

async fn ask(world: &World, gateway: &Front, person: &Person) -> Result<GetBootstrapResponse, Status> {
    let request = world.request(person, GetBootstrapRequest {});
    Ok(BootstrapServiceClient::new(gateway.clone()).get_bootstrap(request).await?.into_inner())
}

#[tokio::test]
async fn all_comes_in_one_call_and_each_service_checks_the_callers_token_itself() {
    let owner = Person::owner();
    let services =
        [("identity", identity()), ("team", team()), ("conversation", conversation()), ("billing", billing())];
    let world = world(services);
    let gateway = gateway(&world, &[]).await;
    let all = ask(&world, &gateway, &owner).await.unwrap();
    assert_eq!((all.user.unwrap().name.as_str(), all.account.unwrap().name.as_str()), ("Ada", "Example"));
    assert_eq!((all.teams.len(), all.led_team_ids.as_slice()), (1, ["support".to_owned()].as_slice()));
    assert_eq!(all.availability.unwrap().state(), AvailabilityState::Active);
    assert!(all.subscription.is_some());
    assert_eq!(all.pages.len(), 9, "an owner is shown every page: {:?}", all.pages);
    assert_eq!(all.missing, Vec::<String>::new());
}

#[tokio::test]
async fn a_colleague_who_may_not_see_the_subscription_misses_nothing_and_is_shown_his_own_pages() {
    let owner = Person::owner();
    let services =
        [("identity", identity()), ("team", team()), ("conversation", conversation()), ("billing", billing())];
    let world = world(services);
    let gateway = gateway(&world, &[]).await;
    let colleague = owner.colleague(Role::User);
    let all = ask(&world, &gateway, &colleague).await.unwrap();
    assert!(all.subscription.is_none());
    assert_eq!(all.missing, Vec::<String>::new());
    assert_eq!(all.pages().collect::<Vec<_>>(), [Page::Inbox, Page::Contacts]);
    let granted = Person { grants: vec![Grant::Campaigns], ..colleague };
    let all = ask(&world, &gateway, &granted).await.unwrap();
    let shown: Vec<_> = all.pages().collect();
    assert_eq!(shown, [Page::Inbox, Page::Contacts, Page::Dashboard, Page::Campaigns, Page::Automation]);
}

#[tokio::test]
async fn a_part_that_is_down_and_one_that_hangs_are_named_and_the_rest_is_there_in_time() {
    let hangs = Scripted::default().on("GetMyAvailability", |_| std::future::pending());
    let world = world([("team", team()), ("conversation", hangs), ("billing", billing())]);
    let gateway = gateway(&world, &[]).await;
    let mut request = world.request(&Person::owner(), GetBootstrapRequest {});
    // Shorter than what a part gets by itself: there has to be time left for an answer.
    request.set_timeout(Duration::from_millis(2600));
    let asked = Instant::now();
    let all = BootstrapServiceClient::new(gateway.clone()).get_bootstrap(request).await.unwrap().into_inner();
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(all.missing, ["identity", "conversation"], "identity once, though two of its parts are missing");
    assert!(all.user.is_none() && all.availability.is_none());
    assert_eq!(all.pages.len(), 9, "the pages need no service");
    assert_eq!((all.teams.len(), all.subscription.is_some()), (1, true));
    start(&world, "identity", identity());
    // The way to a service that was dead is tried again within a second.
    eventually("identity is back", LIMIT, async || {
        ask(&world, &gateway, &Person::owner()).await.unwrap().missing == ["conversation"]
    })
    .await;
}

#[tokio::test]
async fn who_was_cut_off_a_moment_ago_gets_nothing() {
    let cut = || async { Status::unauthenticated("cut off").into_http() };
    let identity = Scripted::default().on("GetUser", move |_| cut()).on("GetAccount", move |_| cut());
    let world = world([("identity", identity), ("team", team()), ("billing", billing())]);
    let gateway = gateway(&world, &[]).await;
    assert_eq!(ask(&world, &gateway, &Person::owner()).await.unwrap_err().code(), Code::Unauthenticated);
    let stranger = BootstrapServiceClient::new(gateway).get_bootstrap(GetBootstrapRequest {}).await.unwrap_err();
    assert_eq!(reason(&stranger), "UNAUTHENTICATED");
}
