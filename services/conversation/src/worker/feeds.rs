//! Follows team and identity.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_account_data::hear;
use diwan_feed::{Event, Handler, consume};
use diwan_launch::Context;
use diwan_proto::{
    feed::v1::feed_service_client::FeedServiceClient,
    identity::v1::{AccountChanged, ServicePrincipalChanged, SessionEnded, UserChanged, UserState},
    team::v1::{MembershipChanged, TeamChanged},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Error,
    app::App,
    flow::{Team, members, presence},
    store::{
        languages,
        locks::{self, Concerned},
        principals,
    },
    worker::{archiver, unanswered},
};

/// Starts to follow both.
pub fn start(app: &Arc<App>, context: &Context) {
    for service in ["team", "identity"] {
        let source = FeedServiceClient::new(context.network.to(service).signed(&context.signer));
        consume(
            &app.drain,
            service,
            source,
            app.database.clone(),
            Follower { app: app.clone(), woken: Mutex::default() },
        );
    }
}

struct Follower {
    app: Arc<App>,
    /// Teams that the events of the present transaction concern. One that is rolled back leaves some: looking once more does no
    /// harm.
    woken: Mutex<Vec<Team>>,
}

impl Handler for Follower {
    type Error = Error;

    fn concerns(&self, event: &Event) -> bool {
        event.is::<TeamChanged>()
            || event.is::<MembershipChanged>()
            || event.is::<UserChanged>()
            || event.is::<SessionEnded>()
            || event.is::<AccountChanged>()
            || event.is::<ServicePrincipalChanged>()
            || diwan_account_data::concerns(event)
    }

    /// Locks all that these events change, account by account, in the lock order.
    async fn prepare(&self, tx: &mut PgConnection, events: &[&Event]) -> Result<(), Error> {
        let mut concerned: BTreeMap<Uuid, Concerned> = BTreeMap::new();
        for event in events {
            concern(concerned.entry(event.account).or_default(), event)?;
        }
        for (account, concerned) in concerned {
            locks::take(tx, account, &concerned).await?;
        }
        Ok(())
    }

    async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
        let now = self.app.clock.now();
        hear(tx, event, now).await?;
        let woken = effect(tx, event, self.app.settings.grace, now).await?;
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).extend(woken);
        Ok(())
    }

    fn committed(&self) {
        let woken = mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        if !woken.is_empty() {
            self.app.times_changed.notify_one();
            self.app.database.wake().ring(archiver::BELL);
        }
        // A sign-out may have made somebody OFFLINE, and new settings may have set timers.
        self.app.database.wake().ring(unanswered::BELL);
        self.app.wake(woken);
    }
}

/// Adds what one event changes.
fn concern(concerned: &mut Concerned, event: &Event) -> Result<(), Error> {
    if event.payload::<TeamChanged>()?.is_some() {
        concerned.teams.push(event.entity);
    } else if let Some(UserChanged { user: Some(_) }) = event.payload()? {
        concerned.told.push(event.entity);
        concerned.users.push(event.entity);
    } else if let Some(ended) = event.payload::<SessionEnded>()? {
        concerned.users.extend(Uuid::try_parse(&ended.user_id).ok());
    } else if let Some(MembershipChanged { membership: Some(membership), .. }) = event.payload()? {
        // What is no id is refused when the event is applied.
        let ids = (Uuid::try_parse(&membership.team_id), Uuid::try_parse(&membership.user_id));
        concerned.members.extend(ids.0.ok().zip(ids.1.ok()));
    }
    Ok(())
}

async fn effect(
    tx: &mut PgConnection,
    event: &Event,
    grace: Duration,
    now: jiff::Timestamp,
) -> Result<Vec<Team>, Error> {
    let Event { account, entity, version, .. } = *event;
    if let Some(TeamChanged { team: Some(team) }) = event.payload()? {
        return members::team_changed(tx, (account, entity, version), &team, now).await;
    }
    if let Some(MembershipChanged { membership: Some(membership), member }) = event.payload()? {
        let ids = (Uuid::try_parse(&membership.team_id), Uuid::try_parse(&membership.user_id));
        let (Ok(team), Ok(user)) = ids else { return Err(Error::Unknown("membership")) };
        return members::membership_changed(tx, (account, team, user), version, (member, membership.lead), now).await;
    }
    if let Some(UserChanged { user: Some(user) }) = event.payload()? {
        let role = i16::try_from(user.role).unwrap_or_default();
        let active = user.state() == UserState::Active;
        return members::user_changed(tx, (account, entity, version), (role, active), now).await;
    }
    if let Some(ended) = event.payload::<SessionEnded>()? {
        let user = Uuid::try_parse(&ended.user_id).map_err(|_| Error::Unknown("user"))?;
        presence::sign_out(tx, (account, user, entity), grace, now).await?;
    }
    if let Some(AccountChanged { account: Some(changed) }) = event.payload()? {
        languages::set(tx, account, (&changed.language, &changed.time_zone), version).await?;
    }
    if event.payload::<ServicePrincipalChanged>()?.is_some() {
        principals::note(tx, account, entity).await?;
    }
    Ok(Vec::new())
}
