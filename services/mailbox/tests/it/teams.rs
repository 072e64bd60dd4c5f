//! The teams that mailboxes feed are archived and come back.

use diwan_feed::time::to_proto;
use diwan_proto::team::v1::{Team, TeamChanged};
use diwan_runtime::ids;
use diwan_testkit::{FakeFeed, eventually};
use jiff::Timestamp;
use uuid::Uuid;

use crate::support::{LIMIT, Office, SUPPORT, question};

/// An office whose team service has a feed.
async fn office() -> (Office, FakeFeed) {
    let feed = FakeFeed::default();
    let office = Office::closed_with(Some(&feed)).await;
    (office, feed)
}

fn tell(office: &Office, feed: &FakeFeed, team: Uuid, version: i64, receiving: Option<Uuid>) {
    let changed = Team {
        id: team.to_string(),
        version,
        archived_at: receiving.map(|_| to_proto(Timestamp::UNIX_EPOCH)),
        receiving_team_id: receiving.map(|id| id.to_string()).unwrap_or_default(),
        ..Team::default()
    };
    feed.write(office.owner.account, team, version, &TeamChanged { team: Some(changed) });
}

async fn heard(office: &Office, events: i64) {
    eventually("mailbox has heard of it", LIMIT, async || {
        let query = "select count(*) from feed_cursors where source = 'team' and sequence = $1";
        let found: i64 = sqlx::query_scalar(query).bind(events).fetch_one(&office.database.pool).await.unwrap();
        found == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_names_the_receiving_team_and_keeps_it_when_the_archived_one_is_back() {
    let (office, feed) = office().await;
    let replica = office.replica(office.env());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    let [receiving, next] = [ids::new_id(), ids::new_id()];
    let mailbox = office.connect(office.settings()).await.unwrap();
    let team = async || office.mailbox(&mailbox.id).await.team_id;
    tell(&office, &feed, office.team, 2, Some(receiving));
    heard(&office, 1).await;
    assert_eq!(team().await, receiving.to_string());
    tell(&office, &feed, office.team, 3, None);
    // Also an older event that comes late changes nothing.
    tell(&office, &feed, receiving, 7, None);
    tell(&office, &feed, receiving, 6, Some(next));
    heard(&office, 4).await;
    assert_eq!(team().await, receiving.to_string());
    // What it names is archived in turn.
    tell(&office, &feed, receiving, 8, Some(next));
    heard(&office, 5).await;
    assert_eq!(team().await, next.to_string());
    office.deliver(SUPPORT, &question(1)).await;
    office.conversation.await_ingested(1).await;
    assert_eq!(office.conversation.ingested()[0].team_id, next.to_string());
    // Of the first move it is what the mailbox names afterwards, of the second what it named before.
    let told = "select count(*) from feed_events
                where entity_id = $1 and position(convert_to($2::text, 'UTF8') in payload) > 0";
    let told: i64 = sqlx::query_scalar(told)
        .bind(mailbox.id.parse::<Uuid>().unwrap())
        .bind(receiving.to_string())
        .fetch_one(&office.database.pool)
        .await
        .unwrap();
    assert_eq!(told, 2, "the audit log is told of each move");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_mailbox_stays_where_it_is() {
    let (office, feed) = office().await;
    let replica = office.replica(office.env());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    let mailbox = office.connect(office.settings()).await.unwrap();
    let changed = Team {
        archived_at: Some(to_proto(Timestamp::UNIX_EPOCH)),
        receiving_team_id: ids::new_id().to_string(),
        ..Team::default()
    };
    feed.write(ids::new_id(), office.team, 9, &TeamChanged { team: Some(changed) });
    heard(&office, 1).await;
    assert_eq!(office.mailbox(&mailbox.id).await.team_id, office.team.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_connected_while_its_team_is_archived_names_the_receiving_one() {
    let (office, feed) = office().await;
    let replica = office.replica(office.env());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    let receiving = ids::new_id();
    // Somebody gives a mailbox this team and has not committed: the event waits for him.
    let mut connecting = office.database.pool.begin().await.unwrap();
    sqlx::query("insert into teams (account_id, id, version) values ($1, $2, 0)")
        .bind(office.owner.account)
        .bind(office.team)
        .execute(&mut *connecting)
        .await
        .unwrap();
    tell(&office, &feed, office.team, 2, Some(receiving));
    eventually("the event waits", LIMIT, async || {
        let waiting =
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
        sqlx::query_scalar::<_, i64>(waiting).fetch_one(&office.database.pool).await.unwrap() > 0
    })
    .await;
    connecting.commit().await.unwrap();
    heard(&office, 1).await;
    // Team still says that it is active: that was asked before.
    let mailbox = office.connect(office.settings()).await.unwrap();
    assert_eq!(mailbox.team_id, receiving.to_string());
    assert_eq!(office.mailbox(&mailbox.id).await.team_id, receiving.to_string());
}
