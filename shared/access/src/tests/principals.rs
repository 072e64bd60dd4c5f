//! Service principals, as themselves and for a user.

use super::*;
use crate::token::{Kind, Mandate, MandateEpochs, PrincipalClaims, UserClaims};

const LIST_TEAMS: &str = "/diwan.team.v1.TeamService/ListTeams";
const GET_TEAM: &str = "/diwan.team.v1.TeamService/GetTeam";
const CREATE_TEAM: &str = "/diwan.team.v1.TeamService/CreateTeam";
const CHANGE_PASSWORD: &str = "/diwan.identity.v1.CredentialService/ChangePassword";

fn mandate(scopes: &[&str]) -> Mandate {
    Mandate {
        sub: Uuid::from_u128(7),
        cred: Uuid::from_u128(8),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        epochs: MandateEpochs::default(),
    }
}

impl World {
    fn principal(&self, scopes: &[&str]) -> String {
        let signer = self.signer(keys::ACCESS);
        let registered = signer.registered(AUDIENCE, Duration::from_mins(5));
        let (acc, act) = (Uuid::from_u128(2), mandate(scopes));
        signer.sign(&PrincipalClaims { registered, kind: Kind::Principal, acc, epoch: 0, act }).unwrap()
    }

    fn acting(&self, role: Role, scopes: &[&str]) -> String {
        let claims = UserClaims { user: self.claims(role, &[]), act: Some(mandate(scopes)) };
        self.signer(keys::ACCESS).sign(&claims).unwrap()
    }

    fn refusal(&self, path: &str, bearer: &str) -> Option<(Code, String, Option<String>)> {
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {bearer}")).unwrap())]);
        let status = tonic::Status::from(self.admission.admit(path, &headers, "team").err()?);
        let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
        Some((status.code(), info.reason, info.metadata.get("method").cloned()))
    }
}

#[test]
fn a_principal_calls_what_its_scopes_name_and_the_rule_admits() {
    let world = World::new();
    let by_method = world.principal(&["diwan.team.v1.TeamService/ListTeams"]);
    let by_service = world.principal(&["diwan.team.v1.TeamService"]);
    assert!(matches!(world.call(LIST_TEAMS, &by_method), Ok(Caller::Principal(_))));
    assert!(world.call(GET_TEAM, &by_service).is_ok());
    // Only users change teams, whatever the scope says.
    let refused = Some((Code::PermissionDenied, "PERMISSION_DENIED".to_owned(), None));
    assert_eq!(world.refusal(CREATE_TEAM, &by_service), refused);
    let method = Some("diwan.team.v1.TeamService/GetTeam".to_owned());
    let outside = Some((Code::PermissionDenied, "SCOPE_MISSING".to_owned(), method));
    assert_eq!(world.refusal(GET_TEAM, &by_method), outside);
    for near in
        ["", "diwan.team.v1", "diwan.team.v1.Team", "diwan.team.v1.TeamService/", "diwan.team.v1.TeamService/GetTeamX"]
    {
        assert_eq!(world.call(GET_TEAM, &world.principal(&[near])), Err(Code::PermissionDenied), "{near}");
    }
}

#[test]
fn one_that_acts_for_a_user_has_his_rights_within_its_scopes_and_not_what_is_his_alone() {
    let world = World::new();
    let scopes = ["diwan.team.v1.TeamService", "diwan.identity.v1.CredentialService"];
    let (admin, user) = (world.acting(Role::Admin, &scopes), world.acting(Role::User, &scopes));
    let Ok(Caller::User(acted)) = world.call(CREATE_TEAM, &admin) else { panic!("not admitted") };
    assert_eq!((acted.user_id, acted.actor), (Uuid::from_u128(1), Some(mandate(&scopes))));
    assert_eq!(world.call(CREATE_TEAM, &user), Err(Code::PermissionDenied));
    assert_eq!(world.call(INVITE, &admin), Err(Code::PermissionDenied), "outside its scopes");
    assert_eq!(world.call(CHANGE_PASSWORD, &admin), Err(Code::PermissionDenied));
    assert!(world.call(CHANGE_PASSWORD, &world.token(Role::User)).is_ok());
}

#[test]
fn a_revoked_principal_credential_or_account_is_refused_in_both_forms() {
    for subject in [7, 8, 2] {
        let world = World::new();
        let scope = ["diwan.team.v1.TeamService"];
        let tokens = [world.principal(&scope), world.acting(Role::Admin, &scope)];
        let Ok(Caller::Principal(admitted)) = world.call(LIST_TEAMS, &tokens[0]) else { panic!("not admitted") };
        assert!(world.admission.recheck(&admitted).is_ok());
        let revocation = Revocation {
            subject: RevocationSubject::Principal.into(),
            subject_id: Uuid::from_u128(subject).to_string(),
            epoch: 1,
        };
        world.revocations.learn(&[revocation], world.clock.now());
        for token in &tokens {
            assert_eq!(world.call(LIST_TEAMS, token), Err(Code::Unauthenticated), "{subject}");
        }
        assert_eq!(world.admission.recheck(&admitted).unwrap_err().code(), Code::Unauthenticated, "{subject}");
    }
}

#[test]
fn a_stream_outlives_its_token_but_not_the_silence_of_identity() {
    let world = World::new();
    let token = world.principal(&["diwan.team.v1.TeamService"]);
    let Ok(Caller::Principal(admitted)) = world.call(LIST_TEAMS, &token) else { panic!("not admitted") };
    world.clock.advance(Duration::from_mins(6));
    assert_eq!(world.admission.recheck(&admitted).unwrap_err().code(), Code::Unavailable);
    world.revocations.learn(&[], world.clock.now());
    assert!(world.admission.recheck(&admitted).is_ok());
}

#[test]
fn a_token_of_an_unknown_kind_or_with_an_unreadable_actor_is_no_users() {
    let world = World::new();
    let forged = |field: &str, value: serde_json::Value| {
        let mut claims = serde_json::to_value(world.claims(Role::Owner, &[])).unwrap();
        claims[field] = value;
        world.signer(keys::ACCESS).sign(&claims).unwrap()
    };
    for token in [forged("kind", "robot".into()), forged("kind", "principal".into()), forged("act", "robot".into())] {
        assert_eq!(world.call(GET_ACCOUNT, &token), Err(Code::Unauthenticated));
    }
}

#[test]
fn a_principal_as_itself_is_let_in_to_nothing_that_an_admin_is_not() {
    let rules = Rules::load().unwrap();
    let mut admitted = 0;
    for (path, rule) in rules.all() {
        let callers: Vec<_> = rule.callers().collect();
        if callers.contains(&proto::Caller::Principal) {
            admitted += 1;
            let admins =
                rule.roles.is_empty() && rule.grants.is_empty() || rule.roles().any(|role| role == Role::Admin);
            assert!(admins || !callers.contains(&proto::Caller::User), "{path}");
            assert!(!callers.contains(&proto::Caller::Public) && !rule.in_person, "{path}");
        }
    }
    assert!(admitted >= 10, "{admitted}");
}

#[test]
fn a_scope_is_a_service_or_method_that_principals_may_call_as_themselves_or_for_a_user() {
    let rules = Rules::load().unwrap();
    for good in [
        "diwan.team.v1.TeamService",
        "diwan.team.v1.TeamService/ListTeams",
        "diwan.team.v1.TeamService/CreateTeam",
        "diwan.gateway.v1.EventService/WatchEvents",
    ] {
        assert!(rules.can_grant(good), "{good}");
    }
    for bad in [
        "",
        "diwan.team.v1",
        "/diwan.team.v1.TeamService/ListTeams",
        "diwan.team.v1.TeamService/Nothing",
        "diwan.team.v1.TeamService/BatchGetTeams",
        "diwan.identity.v1.RevocationService",
        "diwan.identity.v1.ServicePrincipalService",
        "diwan.identity.v1.SessionService/SignIn",
        "diwan.billing.v1.SubscriptionService/SetSeatLimit",
        "grpc.health.v1.Health/Check",
    ] {
        assert!(!rules.can_grant(bad), "{bad}");
    }
}

#[test]
fn the_longest_scopes_that_a_principal_can_have_fit_into_a_token() {
    let world = World::new();
    let mut names: Vec<_> = Rules::load().unwrap().all().map(|(path, _)| path[1..].to_owned()).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let scopes: Vec<_> = names.iter().take(30).map(String::as_str).collect();
    let mut user = world.claims(Role::Admin, &[Grant::Campaigns, Grant::SubscriptionManagement]);
    user.sid = Uuid::max();
    let claims = UserClaims { user, act: Some(mandate(&scopes)) };
    assert!(world.signer(keys::ACCESS).sign(&claims).unwrap().len() <= token::LONGEST);
}
