//! The audit log: what it says, who may read it, and what shows when somebody touches it.

mod filters;
mod pages;
mod refusals;

use diwan_proto::{
    access::v1::Role,
    audit::v1::ActorKind,
    common::v1::PageRequest,
    identity::v1::{
        Account, AuditEntry, AuditFilter, AuditFlaw, AuditHead, GetAuditHeadRequest, InspectAuditEntriesRequest,
        ListAuditEntriesRequest, RefreshSessionRequest, UpdateAccountRequest, VerifyAuditLogRequest,
        VerifyAuditLogResponse, audit_inspection_service_client::AuditInspectionServiceClient,
        audit_service_client::AuditServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::eventually;
use futures::future::join_all;
use prost_types::{FieldMask, Struct, value::Kind};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::house::{House, LIMIT, Member, PASSWORD, refusal, refused};

fn rename(name: &str) -> UpdateAccountRequest {
    UpdateAccountRequest {
        request_id: ids::new_id().to_string(),
        account: Some(Account { name: name.into(), ..Account::default() }),
        update_mask: Some(FieldMask { paths: vec!["name".into()] }),
    }
}

fn name(thing: Option<&Struct>) -> Option<&str> {
    match thing?.fields.get("name")?.kind.as_ref()? {
        Kind::StringValue(name) => Some(name),
        _ => None,
    }
}

impl House {
    async fn rename(&self, owner: &Member, name: &str) {
        self.accounts().update_account(owner.says(rename(name))).await.unwrap();
    }

    async fn audit(&self, reader: &Member, filter: AuditFilter) -> Result<Vec<AuditEntry>, Status> {
        let page = Some(PageRequest { size: 200, token: String::new() });
        let request = reader.says(ListAuditEntriesRequest { filter: Some(filter), page });
        let answer = AuditServiceClient::new(self.world.to("identity")).list_audit_entries(request).await?;
        Ok(answer.into_inner().entries)
    }

    /// The entries of a method, the newest first, once there are `count`.
    pub async fn entries_of(&self, reader: &Member, method: &str, count: usize) -> Vec<AuditEntry> {
        let filter = AuditFilter { method: method.into(), ..AuditFilter::default() };
        eventually("the entries stand in the log", LIMIT, async || {
            Some(self.audit(reader, filter.clone()).await.unwrap()).filter(|entries| entries.len() >= count)
        })
        .await
    }

    async fn audit_head(&self, reader: &Member) -> AuditHead {
        let request = reader.says(GetAuditHeadRequest {});
        let answer = AuditServiceClient::new(self.world.to("identity")).get_audit_head(request).await;
        answer.unwrap().into_inner().head.unwrap()
    }

    async fn verify(&self, account: &str, heads: &[&AuditHead]) -> VerifyAuditLogResponse {
        let heads = heads.iter().map(|head| head.signed.clone()).collect();
        let request = VerifyAuditLogRequest { account_id: account.into(), heads };
        let request = self.world.operator("audit.read", request);
        let mut client = AuditInspectionServiceClient::new(self.world.to("identity"));
        client.verify_audit_log(request).await.unwrap().into_inner()
    }

    async fn flaw(&self, account: &str, heads: &[&AuditHead]) -> (AuditFlaw, i64) {
        let found = self.verify(account, heads).await;
        assert!(found.head.is_none());
        (found.flaw(), found.number)
    }

    async fn sql(&self, statement: &'static str, account: &str) {
        let account: Uuid = account.parse().unwrap();
        let done = sqlx::query(statement).bind(account).execute(&self.database.pool).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }

    /// Nothing is appended to any log until what this gives is dropped: a call that verifies one is written down, too.
    async fn at_rest(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        eventually("nothing waits", LIMIT, async || {
            let mut held = self.database.pool.begin().await.unwrap();
            sqlx::query("lock table feed_cursors, audit_inbox in exclusive mode").execute(&mut *held).await.unwrap();
            let waiting = sqlx::query_scalar::<_, i64>("select count(*) from audit_inbox").fetch_one(&mut *held);
            (waiting.await.unwrap() == 0).then_some(held)
        })
        .await
    }

    /// An account whose log has grown and grows no more: the number of its last entry.
    pub async fn settled(&self, owner: &Member) -> i64 {
        for name in ["One", "Two", "Three", "Four"] {
            self.rename(owner, name).await;
        }
        self.entries_of(owner, "UpdateAccount", 4).await[0].number
    }
}

#[tokio::test]
async fn a_change_stands_in_the_log_with_who_made_it_and_what_was_before() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    house.rename(&owner, "Before").await;
    house.rename(&owner, "After").await;
    let entries = house.entries_of(&owner, "diwan.identity.v1.AccountService/UpdateAccount", 2).await;
    let [after, before] = entries.as_slice() else { panic!("{entries:#?}") };
    assert_eq!((name(after.before.as_ref()), name(after.after.as_ref())), (Some("Before"), Some("After")));
    assert_eq!(name(before.after.as_ref()), Some("Before"));
    let origin = after.origin.as_ref().unwrap();
    assert_eq!((origin.actor(), &origin.actor_id), (ActorKind::User, &owner.user.id));
    assert!(!origin.session_id.is_empty(), "{origin:?}");
    assert_eq!((&*after.service, &*after.entity_kind), ("identity", "diwan.identity.v1.Account"));
    assert_eq!(after.entity_id, owner.user.account_id);

    let by = |filter: AuditFilter| house.audit(&owner, filter);
    let mine = by(AuditFilter { actor: owner.user.id.clone(), ..AuditFilter::default() }).await.unwrap();
    assert!(mine.iter().all(|entry| entry.origin.as_ref().unwrap().actor_id == owner.user.id) && mine.len() >= 2);
    let past = AuditFilter { until: entries[1].occurred_at, ..AuditFilter::default() };
    assert!(by(past).await.unwrap().iter().all(|entry| entry.number < after.number));
    assert_eq!(by(AuditFilter { entity_id: ids::new_id().to_string(), ..AuditFilter::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn only_owner_and_admins_read_the_log_and_only_that_of_their_account() {
    let house = House::new().await;
    let (owner, other) = (house.owner("owner@example.com").await, house.owner("other@example.com").await);
    let colleague = house.colleague(&owner, "user@example.com", Role::User).await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    house.rename(&other, "Foreign").await;
    house.entries_of(&other, "UpdateAccount", 1).await;
    let refused_answer = house.audit(&colleague, AuditFilter::default()).await;
    assert_eq!(refusal(refused_answer), refused(Code::PermissionDenied, "PERMISSION_DENIED"));
    house.entries_of(&admin, "InviteUser", 2).await;
    let seen = format!("{:?}", house.audit(&admin, AuditFilter::default()).await.unwrap());
    assert!(!seen.contains("Foreign") && !seen.contains(&other.user.account_id), "{seen}");
    let foreign = AuditFilter { entity_id: other.user.account_id.clone(), ..AuditFilter::default() };
    assert_eq!(house.audit(&admin, foreign).await.unwrap(), []);
}

#[tokio::test]
async fn a_used_refresh_token_that_comes_back_stands_in_the_log() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let thief = house.member("owner@example.com").await;
    let refresh = async |token: &str| {
        house.sessions().refresh_session(RefreshSessionRequest { refresh_token: token.into() }).await
    };
    let child = refresh(&thief.tokens.refresh_token).await.unwrap().into_inner().tokens.unwrap();
    refresh(&child.refresh_token).await.unwrap();
    let again = refresh(&thief.tokens.refresh_token).await;
    assert_eq!(refusal(again), refused(Code::Unauthenticated, "REFRESH_REFUSED"));
    let told = eventually("it stands in the log", LIMIT, async || {
        let all = house.audit(&owner, AuditFilter::default()).await.unwrap();
        all.into_iter().find(|entry| entry.event == "REFRESH_TOKEN_REUSED")
    })
    .await;
    assert_eq!(told.entity_id, owner.user.id);
    assert!(told.origin.unwrap().method.ends_with("/RefreshSession"));
}

#[tokio::test]
async fn pages_of_the_log_follow_each_other_without_a_gap() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    house.settled(&owner).await;
    let mut client = AuditServiceClient::new(house.world.to("identity"));
    let (mut token, mut numbers) = (String::new(), Vec::new());
    loop {
        let page = Some(PageRequest { size: 2, token });
        let answer = client.list_audit_entries(owner.says(ListAuditEntriesRequest { filter: None, page })).await;
        let answer = answer.unwrap().into_inner();
        numbers.extend(answer.entries.iter().map(|entry| entry.number));
        token = answer.page.unwrap().next_token;
        if token.is_empty() {
            break;
        }
    }
    let first = numbers[0];
    assert_eq!(numbers, (1..=first).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_make_one_chain_without_a_gap() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let names: Vec<String> = (0..64).map(|number| format!("Name {number}")).collect();
    join_all(names.iter().map(|name| house.rename(&owner, name))).await;
    let entries = house.entries_of(&owner, "UpdateAccount", 64).await;
    assert_eq!(entries.len(), 64);
    let verified = house.verify(&owner.user.account_id, &[&house.audit_head(&owner).await]).await;
    assert_eq!((verified.flaw(), verified.number), (AuditFlaw::Unspecified, 0));
    assert_eq!(verified.entries, verified.head.unwrap().number);
    // Whatever overtook what, each change begins where the one before it ended.
    let mut after: Vec<_> = entries.iter().filter_map(|entry| name(entry.after.as_ref())).collect();
    let mut before: Vec<_> = entries.iter().filter_map(|entry| name(entry.before.as_ref())).collect();
    after.sort_unstable();
    after.dedup();
    before.sort_unstable();
    before.dedup();
    assert_eq!((after.len(), before.len()), (64, 64));
}

#[tokio::test]
async fn a_feed_that_is_told_again_adds_nothing() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    house.settled(&owner).await;
    let all = house.audit(&owner, AuditFilter::default()).await.unwrap();
    // As after a crash that lost the cursor and nothing else.
    let reset = "update feed_cursors set generation = 0, transaction = 0, sequence = 0";
    sqlx::query(reset).execute(&house.database.pool).await.unwrap();
    house.rename(&owner, "Five").await;
    house.entries_of(&owner, "UpdateAccount", 5).await;
    eventually("the feed was told again", LIMIT, async || {
        let last = "select sequence from feed_cursors where source = 'audit of identity'";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&house.database.pool).await.unwrap();
        let newest = "select max(seq) from feed_events";
        last == sqlx::query_scalar::<_, i64>(newest).fetch_one(&house.database.pool).await.unwrap()
    })
    .await;
    let empty = async || house.count("audit_inbox").await == 0;
    eventually("nothing waits", LIMIT, empty).await;
    let now = house.audit(&owner, AuditFilter::default()).await.unwrap();
    assert_eq!(&now[now.len() - all.len()..], all.as_slice());
    assert_eq!(now.len(), all.len() + 1);
    assert_eq!(house.verify(&owner.user.account_id, &[]).await.flaw(), AuditFlaw::Unspecified);
}

#[tokio::test]
async fn a_changed_removed_moved_or_truncated_entry_is_noticed() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let account = owner.user.account_id.clone();
    let last = house.settled(&owner).await;
    let _at_rest = house.at_rest().await;
    let head = house.audit_head(&owner).await;
    assert_eq!(house.verify(&account, &[&head]).await.flaw(), AuditFlaw::Unspecified);

    house
        .sql("update audit_entries set content = content || '\\x00' where account_id = $1 and number = 2", &account)
        .await;
    assert_eq!(house.flaw(&account, &[]).await, (AuditFlaw::Changed, 2));
    let restore = "update audit_entries set content = substring(content for octet_length(content) - 1)
                   where account_id = $1 and number = 2";
    house.sql(restore, &account).await;
    assert_eq!(house.verify(&account, &[&head]).await.flaw(), AuditFlaw::Unspecified);

    house.sql("update audit_entries set actor = 'nobody' where account_id = $1 and number = 1", &account).await;
    assert_eq!(house.flaw(&account, &[]).await, (AuditFlaw::Changed, 1), "it would not be found any more");
    house.sql("update audit_entries set actor = '' where account_id = $1 and number = 1", &account).await;

    // Two change places.
    for statement in [
        "update audit_entries set number = 1000 where account_id = $1 and number = 2",
        "update audit_entries set number = 2 where account_id = $1 and number = 3",
        "update audit_entries set number = 3 where account_id = $1 and number = 1000",
    ] {
        house.sql(statement, &account).await;
    }
    assert_eq!(house.flaw(&account, &[]).await, (AuditFlaw::Changed, 2));
    house.sql("delete from audit_entries where account_id = $1 and number = 2", &account).await;
    assert_eq!(house.flaw(&account, &[]).await, (AuditFlaw::Removed, 2));
    house.sql("delete from audit_entries where account_id = $1 and number > 1", &account).await;
    assert_eq!(house.flaw(&account, &[]).await, (AuditFlaw::Truncated, 2), "the log's own head tells");
    let cut = "update audit_heads set exported = 0, number = 1,
                   hash = (select hash from audit_entries where account_id = $1 and number = 1) where account_id = $1";
    house.sql(cut, &account).await;
    assert_eq!(house.verify(&account, &[]).await.flaw(), AuditFlaw::Unspecified, "it agrees with itself");
    assert_eq!(house.flaw(&account, &[&head]).await, (AuditFlaw::Truncated, 2), "an exported head tells");
    assert_eq!(head.number, last);
}

#[tokio::test]
async fn a_chain_that_cannot_go_on_keeps_no_other_account_waiting() {
    let house = House::new().await;
    let (first, second) = (house.owner("first@example.com").await, house.owner("second@example.com").await);
    house.settled(&first).await;
    // The next entry's number is taken.
    let back = "update audit_heads set exported = 0, number = number - 1 where account_id = $1";
    house.sql(back, &first.user.account_id).await;
    house.rename(&first, "Five").await;
    eventually("it waits", LIMIT, async || house.count("audit_inbox").await > 0).await;
    house.settled(&second).await;
    assert!(house.count("audit_inbox").await > 0, "it waits still");
}

#[tokio::test]
async fn a_head_of_another_log_or_of_nobody_is_refused() {
    let house = House::new().await;
    let (owner, other) = (house.owner("owner@example.com").await, house.owner("other@example.com").await);
    house.settled(&owner).await;
    let head = house.audit_head(&owner).await;
    for (account, signed) in [(other.user.account_id, head.signed), (owner.user.account_id, "no head".into())] {
        let request =
            house.world.operator("audit.read", VerifyAuditLogRequest { account_id: account, heads: vec![signed] });
        let mut client = AuditInspectionServiceClient::new(house.world.to("identity"));
        assert_eq!(client.verify_audit_log(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_call_of_an_operator_is_written_down_in_the_log_that_it_concerns() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let inspect = async |account: &str| {
        let request = InspectAuditEntriesRequest {
            account_id: account.into(),
            filter: Some(AuditFilter { actor: "test".into(), ..AuditFilter::default() }),
            page: None,
        };
        let mut client = AuditInspectionServiceClient::new(house.world.to("identity"));
        let answer = client.inspect_audit_entries(house.world.operator("audit.read", request)).await;
        answer.unwrap().into_inner().entries
    };
    let unknown = ids::new_id().to_string();
    inspect(&unknown).await;
    let of_installation = eventually("the installation's log grows", LIMIT, async || {
        inspect("").await.into_iter().find(|entry| format!("{:?}", entry.request).contains(&unknown))
    })
    .await;
    assert_eq!(of_installation.event, "OPERATOR_CALL");
    assert_eq!(of_installation.origin.unwrap().actor(), ActorKind::Operator);
    let of_account =
        eventually("the account's log grows", LIMIT, async || inspect(&owner.user.account_id).await.into_iter().next())
            .await;
    assert_eq!(of_account.origin.unwrap().method, "diwan.identity.v1.AuditInspectionService/InspectAuditEntries");
    let seen = house.entries_of(&owner, "InspectAuditEntries", 1).await;
    assert_eq!(seen[0].event, "OPERATOR_CALL", "the owner sees who looked");
}

#[tokio::test]
async fn no_secret_stands_in_the_log() {
    let house = House::new().await;
    let owner = house.owner("owner@example.com").await;
    let colleague = house.colleague(&owner, "user@example.com", Role::User).await;
    house.entries_of(&owner, "AcceptInvitation", 1).await;
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("select content from audit_entries union all select payload from feed_events")
            .fetch_all(&house.database.pool)
            .await
            .unwrap();
    let written: String = rows.iter().map(|row| String::from_utf8_lossy(row)).collect();
    let secrets = [PASSWORD, &owner.tokens.refresh_token, &owner.tokens.access_token, &colleague.tokens.refresh_token];
    for secret in secrets {
        assert!(!written.contains(secret));
    }
}
