//! The checker: each rule finds what breaks it, and only that.

use diwan_proto::conversation::v1::{
    CheckRoutingRequest, CheckRoutingResponse, Violation, ViolationKind as Kind,
    checker_service_client::CheckerServiceClient,
};
use diwan_runtime::ids;
use diwan_testkit::reason;
use sqlx::AssertSqlSafe;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::Office;

impl Office {
    /// What the checker says of an account, of all when it is empty.
    pub async fn check_account(&self, account_id: String) -> Result<Vec<CheckRoutingResponse>, Status> {
        let request = self.world.operator("routing.check", CheckRoutingRequest { account_id });
        let mut client = CheckerServiceClient::new(self.world.to("conversation"));
        let mut stream = client.check_routing(request).await?.into_inner();
        let mut responses = Vec::new();
        while let Some(response) = stream.message().await? {
            responses.push(response);
        }
        Ok(responses)
    }

    /// Every violation there is.
    pub async fn violations(&self) -> Vec<Violation> {
        let responses = self.check_account(String::new()).await.unwrap();
        responses.into_iter().flat_map(|response| response.violations).collect()
    }

    /// Damages the data behind the back of the service and of every constraint.
    pub async fn damage(&self, sql: &str) {
        let sql = format!("set session_replication_role = replica; {sql}; set session_replication_role = origin");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.pool()).await.unwrap();
    }
}

/// An agent with a limit of 2 who was given two conversations; a third one waits; a fourth one he has answered and closed.
async fn busy() -> (Office, Uuid, [Uuid; 3]) {
    let office = Office::open(2).await;
    let agent = office.agent().await;
    let inbox = office.watch(&agent).await;
    let closed = office.arrive().await;
    office.held_by(&agent, closed).await;
    office.reply(&agent, closed, "It is the fuse.").await.unwrap();
    office.close(&agent, closed).await.unwrap();
    let (first, second) = (office.arrive().await, office.arrive().await);
    office.held_by(&agent, first).await;
    office.held_by(&agent, second).await;
    let waiting = office.arrive().await;
    // So that nothing goes on while a test damages something.
    drop(inbox);
    office.until("select count(*) from presence where state <> 'OFFLINE'", 0).await;
    office.until("select count(*) from sends", 0).await;
    (office, agent.user, [first, closed, waiting])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_did_itself_breaks_no_rule_and_progress_is_told() {
    let (office, ..) = busy().await;
    let responses = office.check_account(office.owner.account.to_string()).await.unwrap();
    assert_eq!(responses.iter().map(|response| response.violation_count).sum::<i64>(), 0, "{responses:?}");
    let last = responses.last().unwrap();
    assert_eq!(usize::try_from(last.rules_checked).unwrap(), responses.len());
    assert_eq!((last.rules_checked, last.accounts_checked, last.accounts_total), (last.rules_total, 1, 1));
    assert_eq!(responses[0].accounts_checked, 0);
    let checked: Vec<_> = responses.iter().map(CheckRoutingResponse::kind).collect();
    assert!((1..).map_while(|number| Kind::try_from(number).ok()).all(|kind| checked.contains(&kind)), "{checked:?}");
}

/// A table, how it is damaged, and the rules that find it, in their order.
type Damage = (&'static str, String, Vec<Kind>);

fn of_slots() -> Vec<Damage> {
    vec![
        ("slots", "update slots set open_count = open_count + 1".into(), vec![Kind::OpenCount]),
        ("slots", "delete from slots".into(), vec![Kind::OpenCount, Kind::AutomaticCount, Kind::HolderNotEntitled]),
        ("slots", "update slots set last_assigned_at = null".into(), vec![Kind::AutomaticCount]),
        (
            "slots",
            "update slots set last_assigned_at = last_assigned_at - interval '1 hour'".into(),
            vec![Kind::AutomaticCount],
        ),
        ("slots", "update slots set member = false".into(), vec![Kind::HolderNotEntitled]),
    ]
}

fn of_transitions([held, closed, waiting]: [Uuid; 3]) -> Vec<Damage> {
    let stranger = ids::new_id();
    vec![
        (
            "transitions",
            format!("delete from transitions where conversation_id = '{waiting}'"),
            vec![Kind::NoTransition],
        ),
        (
            "transitions",
            format!("delete from transitions where conversation_id = '{held}' and cause = 'AUTOMATIC'"),
            vec![Kind::LastTransition],
        ),
        (
            "transitions",
            format!("update transitions set team_id = '{stranger}' where conversation_id = '{waiting}'"),
            vec![Kind::LastTransition],
        ),
        (
            "transitions",
            format!("delete from transitions where conversation_id = '{closed}' and cause = 'AUTOMATIC'"),
            vec![Kind::BrokenHistory],
        ),
        (
            "transitions",
            format!("delete from transitions where conversation_id = '{closed}' and version = 1"),
            vec![Kind::BrokenHistory, Kind::Version],
        ),
        (
            "transitions",
            format!("update transitions set decision_id = null where conversation_id = '{held}'"),
            vec![Kind::Decision],
        ),
        (
            "transitions",
            format!(
                "update transitions t set decision_id = (select decision_id from transitions o
                     where o.conversation_id = '{closed}' and o.decision_id is not null)
                 where t.conversation_id = '{held}' and t.decision_id is not null"
            ),
            vec![Kind::Decision],
        ),
        (
            "decisions",
            format!(
                "delete from decisions where id = (select decision_id from transitions
                     where conversation_id = '{held}' and decision_id is not null)"
            ),
            vec![Kind::Decision],
        ),
    ]
}

fn of_conversations(held: Uuid) -> Vec<Damage> {
    let stranger = ids::new_id();
    vec![
        ("conversations", format!("update conversations set version = 0 where id = '{held}'"), vec![Kind::Version]),
        (
            "conversations",
            format!("update conversations set holder_id = '{stranger}' where id = '{held}'"),
            vec![Kind::OpenCount, Kind::LastTransition, Kind::Holder, Kind::HolderNotEntitled],
        ),
        (
            "conversations",
            format!("update conversations set last_holder_id = '{stranger}' where id = '{held}'"),
            vec![Kind::Holder],
        ),
        (
            "messages",
            format!("update messages set conversation_id = '{stranger}' where conversation_id = '{held}'"),
            vec![Kind::Message],
        ),
    ]
}

fn of_others(account: Uuid, agent: Uuid) -> Vec<Damage> {
    let stranger = ids::new_id();
    vec![
        ("users", format!("update users set active = false where id = '{agent}'"), vec![Kind::HolderNotEntitled]),
        ("teams", "delete from teams".into(), vec![Kind::NoTeam]),
        ("teams", "update teams set receiving_id = id, archived = true".into(), vec![Kind::NoTeam]),
        (
            "sends",
            "insert into sends select account_id, id, 0, now() + interval '1 day' from messages where direction = 'IN'"
                .into(),
            vec![Kind::Send],
        ),
        (
            "sends",
            format!("insert into sends values ('{account}', '{stranger}', 0, now() + interval '1 day')"),
            vec![Kind::Send],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_found_with_its_ids_and_by_nothing_but_its_rules() {
    let (office, agent, conversations) = busy().await;
    let copy = |table: &str| format!("create table kept as table {table}");
    let back = |table: &str| format!("delete from {table}; insert into {table} select * from kept; drop table kept");
    drop_checks(&office).await;
    let damages = [of_slots(), of_transitions(conversations), of_conversations(conversations[0])];
    let damages = damages.into_iter().flatten().chain(of_others(office.owner.account, agent));
    for (table, damage, expected) in damages {
        office.damage(&copy(table)).await;
        office.damage(&damage).await;
        let found = office.violations().await;
        let mut kinds: Vec<Kind> = found.iter().map(Violation::kind).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, expected, "{damage}: {found:?}");
        let account = office.owner.account.to_string();
        assert!(found.iter().all(|one| one.account_id == account && !one.found.is_empty() && !one.expected.is_empty()));
        office.damage(&back(table)).await;
        assert_eq!(office.violations().await, [], "after mending: {damage}");
    }
}

/// The schema forbids some of it; the checker must not rely on that.
async fn drop_checks(office: &Office) {
    office
        .damage(
            "alter table conversations drop constraint conversations_holder, drop constraint conversations_last_holder",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_limit_by_decisions_is_found_and_by_hand_is_not() {
    let (office, agent, [_, _, waiting]) = busy().await;
    let account = office.owner.account;
    let give = |cause: &str, decision: &str, over: bool| {
        format!(
            "update conversations set state = 'OPEN', holder_id = '{agent}', last_holder_id = '{agent}', queued_at = null,
                 version = version + 1 where id = '{waiting}';
             update slots set open_count = open_count + 1 where user_id = '{agent}';
             insert into transitions (account_id, conversation_id, version, at, cause, from_state, to_state, to_holder_id, team_id,
                                      over_limit, decision_id)
             select '{account}', '{waiting}', version, now(), '{cause}', 'QUEUED', 'OPEN', '{agent}', team_id, {over}, {decision}
             from conversations where id = '{waiting}'"
        )
    };
    office.damage(&give("TAKEN", "null", true)).await;
    assert_eq!(office.violations().await, []);
    let newest = "(select id from decisions order by decided_at desc limit 1)";
    office
        .damage(&format!(
            "update transitions set cause = 'AUTOMATIC', over_limit = false, decision_id = {newest}
             where conversation_id = '{waiting}' and cause = 'TAKEN'"
        ))
        .await;
    let found = office.violations().await;
    let over = found.iter().find(|found| found.kind() == Kind::OverLimit).unwrap();
    assert_eq!(
        (over.user_id.clone(), over.found.as_str(), over.expected.as_str()),
        (agent.to_string(), "3", "at most 2")
    );
    assert_eq!(found.len(), 2, "and the decision did not give it: {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_checked_alone_and_an_unknown_one_is_refused() {
    let (office, ..) = busy().await;
    let other = ids::new_id();
    office
        .damage(&format!("insert into slots (account_id, team_id, user_id, member, open_count) values ('{other}', '{other}', '{other}', true, 5)"))
        .await;
    let own = office.check_account(office.owner.account.to_string()).await.unwrap();
    assert!(own.iter().all(|response| response.violations.is_empty()), "{own:?}");
    let all = office.violations().await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((all[0].account_id.as_str(), all[0].found.as_str()), (other.to_string().as_str(), "5"));
    let refused = office.check_account(ids::new_id().to_string()).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "ACCOUNT_NOT_FOUND".to_owned()));
    let refused = office.check_account("mine".into()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
