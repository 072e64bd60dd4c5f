//! From a deactivation, or a changed role, to the last call that anybody accepts with the token from before: three gateways and two of each service, each asked all the time.
//! Then with one of each cut off from identity, and with a transaction left open in identity's database.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diwan_e2e::{
    Failure,
    door::{Door, Person, request_id},
};
use diwan_proto::{
    access::v1::Role,
    billing::v1::{GetSubscriptionRequest, subscription_service_client::SubscriptionServiceClient},
    conversation::v1::{ListConversationsRequest, conversation_service_client::ConversationServiceClient},
    identity::v1::{
        ChangeRoleRequest, DeactivateUserRequest, GetAccountRequest, account_service_client::AccountServiceClient,
        role_service_client::RoleServiceClient, user_service_client::UserServiceClient,
    },
    mailbox::v1::{ListMailboxesRequest, mailbox_service_client::MailboxServiceClient},
    team::v1::{ListTeamsRequest, Team, team_service_client::TeamServiceClient},
};
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::{
    cast::{self, Scene},
    cut::Cut,
    open_transaction,
    report::{self, Report},
    spread::Spread,
};

const DEACTIVATIONS: usize = 40;
const ROLE_CHANGES: usize = 10;
/// How long everybody is asked after a deactivation: longer than the bound.
const WATCHED: Duration = Duration::from_millis(1500);
const WATCHED_CUT: Duration = Duration::from_secs(8);
const BOUND: Duration = Duration::from_secs(5);
const TARGET: Duration = Duration::from_millis(250);
const TARGET_OF_ROLES: Duration = Duration::from_secs(1);

/// What ends a token.
#[derive(Clone, Copy, Debug)]
enum End {
    Deactivation,
    RoleChange,
}

/// Somebody who verifies tokens.
#[derive(Clone, Debug)]
struct Verifier {
    service: &'static str,
    address: SocketAddr,
}

/// Measures the three.
pub(crate) async fn measure(report: &mut Report) -> Result<(), Failure> {
    report::part("revocation: from the call that deactivates to the last call accepted, 3 gateways, 2 of each service");
    let mut scene = Scene::start(&[]).await?;
    let mut all = first_of_each(&scene)?;
    for service in ["identity", "team", "billing", "conversation", "mailbox", "gateway", "gateway"] {
        all.push(further(&mut scene, service, &[])?);
    }
    let owner = scene.owner().await?;
    let team = cast::team(&owner).await?;
    scene.seats(&owner, DEACTIVATIONS + ROLE_CHANGES + 10).await?;
    let mut times = Vec::new();
    for _ in 0..DEACTIVATIONS {
        times.push(last_accepted(&scene, &owner, &team, (End::Deactivation, &all), WATCHED).await?);
    }
    let spread = Spread::of(times);
    report::figure(&format!("{DEACTIVATIONS} deactivations, {} verifiers", all.len()), &spread);
    report.bar(
        "p99 of the last call accepted: under 250 ms",
        format!("{:.1?}", spread.within(99)),
        spread.within(99) < TARGET,
    );
    let mut times = Vec::new();
    for _ in 0..ROLE_CHANGES {
        times.push(last_accepted(&scene, &owner, &team, (End::RoleChange, &all), WATCHED).await?);
    }
    let spread = Spread::of(times);
    report::figure(&format!("{ROLE_CHANGES} changed roles, {} verifiers", all.len()), &spread);
    let slowest = spread.within(100);
    report.bar("a changed role holds everywhere: within 1 s", format!("{slowest:.1?}"), slowest < TARGET_OF_ROLES);
    cut_off(report, &mut scene, &owner, &team).await?;
    left_open(report, &scene, &owner, &team, &all).await?;
    scene.end().await
}

fn first_of_each(scene: &Scene) -> Result<Vec<Verifier>, Failure> {
    let mut all = vec![Verifier { service: "gateway", address: scene.installation.gateway() }];
    for service in diwan_e2e::installation::SERVICES {
        let address = scene.installation.address(service).ok_or("a service without an address")?;
        all.push(Verifier { service, address });
    }
    Ok(all)
}

fn further(scene: &mut Scene, service: &'static str, settings: &[(&str, String)]) -> Result<Verifier, Failure> {
    let name = format!("{service}-{}", &request_id()[24..]);
    let address = scene.installation.replica(service, &name, &[], settings)?;
    Ok(Verifier { service, address })
}

/// With one gateway and one service that cannot hear identity any more.
async fn cut_off(report: &mut Report, scene: &mut Scene, owner: &Person, team: &Team) -> Result<(), Failure> {
    let identity = scene.installation.address("identity").ok_or("no identity")?;
    let cut = Cut::towards(identity).await?;
    let settings = [("DIWAN_IDENTITY_ADDRESS", format!("http://{}", cut.address()))];
    let mut deaf = Vec::new();
    for service in ["gateway", "team", "conversation"] {
        deaf.push(further(scene, service, &settings)?);
    }
    let person = scene.colleague(owner, team).await?;
    let asked = Asked::start(&person, &deaf).await?;
    cut.now();
    let (begun, status) = end(End::Deactivation, owner, &person).await;
    status?;
    tokio::time::sleep(WATCHED_CUT).await;
    let last = asked.last_since(begun).await?;
    report.bar("cut off from identity, last call accepted: within 5 s", format!("{last:.2?}"), last <= BOUND);
    Ok(())
}

/// With a transaction that has a number and does not end.
async fn left_open(
    report: &mut Report,
    scene: &Scene,
    owner: &Person,
    team: &Team,
    all: &[Verifier],
) -> Result<(), Failure> {
    let open = open_transaction::begin(&scene.installation.database_url("identity").ok_or("no database")?).await?;
    let last = last_accepted(scene, owner, team, (End::Deactivation, all), WATCHED_CUT).await?;
    open.end().await?;
    report.bar("a transaction left open, last call accepted: within 5 s", format!("{last:.2?}"), last <= BOUND);
    Ok(())
}

async fn last_accepted(
    scene: &Scene,
    owner: &Person,
    team: &Team,
    (by, all): (End, &[Verifier]),
    watched: Duration,
) -> Result<Duration, Failure> {
    let person = scene.colleague(owner, team).await?;
    let asked = Asked::start(&person, all).await?;
    // Measured from before the call: what is committed cannot be older.
    let (begun, status) = end(by, owner, &person).await;
    status?;
    tokio::time::sleep(watched).await;
    asked.last_since(begun).await
}

async fn end(by: End, owner: &Person, person: &Person) -> (Instant, Result<(), Status>) {
    let (request_id, user_id) = (request_id(), person.user.id.clone());
    let begun = Instant::now();
    let answer = match by {
        End::Deactivation => {
            let request = DeactivateUserRequest { request_id, user_id };
            UserServiceClient::new(owner.way()).deactivate_user(request).await.map(drop)
        }
        End::RoleChange => {
            let request = ChangeRoleRequest { request_id, user_id, role: Role::Admin.into(), grants: Vec::new() };
            RoleServiceClient::new(owner.way()).change_role(request).await.map(drop)
        }
    };
    (begun, answer)
}

/// Everybody is asked by one person, again and again.
struct Asked {
    over: Arc<AtomicBool>,
    accepted: Arc<Mutex<Instant>>,
    tasks: Vec<JoinHandle<Result<(), Status>>>,
}

impl Asked {
    /// Starts, and returns when each has let him in once.
    async fn start(person: &Person, all: &[Verifier]) -> Result<Self, Failure> {
        let (over, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Instant::now())));
        let mut tasks = Vec::new();
        for verifier in all {
            let door = open(verifier, person).await?;
            let (service, over, accepted) = (verifier.service, over.clone(), accepted.clone());
            tasks.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    match call(service, &door).await {
                        Ok(()) => note(&accepted, asked),
                        // UNAVAILABLE: a verifier that does not know refuses instead of guessing.
                        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::Unavailable) => {}
                        Err(status) => return Err(status),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(())
            }));
        }
        Ok(Self { over, accepted, tasks })
    }

    async fn last_since(self, begun: Instant) -> Result<Duration, Failure> {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        let last = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(last.saturating_duration_since(begun))
    }
}

fn note(accepted: &Mutex<Instant>, asked: Instant) {
    let mut last = accepted.lock().unwrap_or_else(PoisonError::into_inner);
    *last = asked.max(*last);
}

/// A door through which the person has been let in.
async fn open(verifier: &Verifier, person: &Person) -> Result<Door, Failure> {
    let waited = async {
        loop {
            if let Ok(door) = Door::open(verifier.address).await
                && let Ok(door) = door.with_token(&person.tokens.access_token)
                && call(verifier.service, &door).await.is_ok()
            {
                return door;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let opened = tokio::time::timeout(Duration::from_secs(20), waited).await;
    opened.map_err(|_| format!("{} does not let anybody in", verifier.service).into())
}

/// Calls something of the service. That a USER may not call it counts as let in: the rule is asked after the token.
async fn call(service: &str, door: &Door) -> Result<(), Status> {
    let way = door.way();
    let answer = match service {
        "identity" => AccountServiceClient::new(way).get_account(GetAccountRequest {}).await.map(drop),
        "billing" => {
            SubscriptionServiceClient::new(way).get_subscription(GetSubscriptionRequest::default()).await.map(drop)
        }
        "conversation" => {
            ConversationServiceClient::new(way).list_conversations(ListConversationsRequest::default()).await.map(drop)
        }
        "mailbox" => MailboxServiceClient::new(way).list_mailboxes(ListMailboxesRequest::default()).await.map(drop),
        _ => TeamServiceClient::new(way).list_teams(ListTeamsRequest::default()).await.map(drop),
    };
    answer.or_else(|status| if status.code() == Code::PermissionDenied { Ok(()) } else { Err(status) })
}
