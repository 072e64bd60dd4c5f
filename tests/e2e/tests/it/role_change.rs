//! A changed role holds at every replica of every service, and of the gateway.

use std::time::{Duration, Instant};

use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::Topology,
};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        ChangeRoleRequest, ListServicePrincipalsRequest, RefreshSessionRequest, role_service_client::RoleServiceClient,
        service_principal_service_client::ServicePrincipalServiceClient, session_service_client::SessionServiceClient,
    },
    team::v1::{CreateDepartmentRequest, department_service_client::DepartmentServiceClient},
};
use diwan_testkit::eventually;
use futures::future::join_all;
use tonic::{Code, Status};

use crate::{
    crew::{colleague, more_seats},
    support::{Fresh, sign_up, start},
};

const LIMIT: Duration = Duration::from_secs(30);
/// Nobody accepts a token later than this after what it says has changed.
const BOUND: Duration = Duration::from_secs(5);

/// Somebody who verifies tokens.
struct Verifier {
    service: &'static str,
    door: Door,
    /// Who can be the head of a department.
    head_id: String,
}

impl Verifier {
    /// Does what only the owner and admins may.
    async fn asked(&self, token: &str) -> Result<(), Status> {
        let way = self.door.with_token(token).unwrap().way();
        if self.service == "identity" {
            let list = ListServicePrincipalsRequest::default();
            return ServicePrincipalServiceClient::new(way).list_service_principals(list).await.map(drop);
        }
        let (request_id, name) = (request_id(), request_id()[24..].to_owned());
        let head_id = self.head_id.clone();
        let create = CreateDepartmentRequest { request_id, name, head_id, ..CreateDepartmentRequest::default() };
        DepartmentServiceClient::new(way).create_department(create).await.map(drop)
    }

    /// Waits until he is answered so.
    async fn says(&self, token: &str, expected: Code, limit: Duration) {
        let what = format!("{} says {expected:?}", self.service);
        eventually(&what, limit, async || {
            self.asked(token).await.map_or_else(|status| status.code(), |()| Code::Ok) == expected
        })
        .await;
    }
}

/// Two of the gateway, of identity and of another service, each of which lets `user` in.
async fn verifiers(fresh: &mut Fresh, user: &Person) -> Vec<Verifier> {
    let mut all = Vec::new();
    for service in ["gateway", "identity", "team"] {
        let first = fresh.installation.address(service).unwrap_or_else(|| fresh.installation.gateway());
        let second = fresh.installation.replica(service, &format!("{service}-2"), &[], &[]).unwrap();
        for address in [first, second] {
            let door = eventually("it answers", LIMIT, async || Door::open(address).await.ok()).await;
            let verifier = Verifier { service, door, head_id: user.user.id.clone() };
            verifier.says(&user.tokens.access_token, Code::PermissionDenied, LIMIT).await;
            all.push(verifier);
        }
    }
    all
}

async fn change(owner: &Person, user: &Person, role: Role) -> Instant {
    let user_id = user.user.id.clone();
    let request = ChangeRoleRequest { request_id: request_id(), user_id, role: role.into(), grants: Vec::new() };
    let begun = Instant::now();
    RoleServiceClient::new(owner.way()).change_role(request).await.unwrap();
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_role_holds_at_every_replica_within_the_bound() {
    let mut fresh = start(Topology::Separate, &[]).await;
    let door = Door::open(fresh.installation.gateway()).await.unwrap();
    let owner = sign_up(&door, "Roles").await;
    more_seats(&fresh, &door, &owner).await;
    let user = colleague(&fresh, &door, &owner, Role::User, &[]).await;
    let mut tokens = user.tokens.clone();
    let all = verifiers(&mut fresh, &user).await;
    for (role, answer) in [(Role::Admin, Code::Ok), (Role::User, Code::PermissionDenied)] {
        let begun = change(&owner, &user, role).await;
        join_all(all.iter().map(|verifier| verifier.says(&tokens.access_token, Code::Unauthenticated, BOUND))).await;
        println!("{role:?} holds at {} verifiers after {:?}", all.len(), begun.elapsed());
        let refresh = RefreshSessionRequest { refresh_token: tokens.refresh_token };
        let refreshed = SessionServiceClient::new(door.way()).refresh_session(refresh).await.unwrap();
        tokens = refreshed.into_inner().tokens.unwrap();
        join_all(all.iter().map(|verifier| verifier.says(&tokens.access_token, answer, LIMIT))).await;
    }
    fresh.stop().await;
}
