//! One open inbox stream.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use diwan_access::User;
use diwan_feed::{Position, time::to_proto};
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        Availability, ConversationChanged, ConversationWaitsLong, WatchInboxResponse,
        watch_inbox_response::Event as Shown,
    },
};
use diwan_runtime::worker::chain;
use futures::StreamExt as _;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::{Instant, timeout_at},
};
use tonic::Status;
use uuid::Uuid;

use super::shown::{facts, mask};
use crate::{
    Error,
    app::App,
    domain::{
        scope::Scope,
        state::State,
        view::{Change, View, Word},
    },
    flow::authority::directs,
    store::{
        feed,
        lists::{self, Filter, Part},
        presence, scopes, users,
    },
    worker::{
        hub::{self, Batch, Event, Happened},
        sessions::Entry,
    },
};

/// A sign of life comes at least every thirty seconds.
const HEARTBEAT: Duration = Duration::from_secs(27);
/// How many conversations are looked through at a time when a scope shrinks.
const PAGE: i64 = 500;

type Out = mpsc::Sender<Result<WatchInboxResponse, Status>>;

/// One person's stream.
///
/// It shows every event between its cursor and the present once: it subscribes before it reads the past, shows the past up to where
/// the subscription begins, and passes over what stands at or before the last position that it has dealt with.
pub struct Stream {
    app: Arc<App>,
    caller: User,
    view: View,
    out: Out,
    availability: Availability,
    position: Position,
    /// Where the subscription begins.
    head: Position,
    /// While the past is shown to a returning client: how far. What he could see then is not known any more.
    returning: bool,
    beat: Instant,
}

impl Stream {
    /// Goes on after `cursor`, or after `head`, where the subscription begins.
    pub fn new(
        app: Arc<App>,
        caller: User,
        scope: Scope,
        out: Out,
        availability: Availability,
        (cursor, head): (Option<Position>, Position),
    ) -> Self {
        let (position, beat) = (cursor.unwrap_or(head), next_beat());
        let view = View::new(scope);
        Self { app, caller, view, out, availability, position, head, returning: cursor.is_some(), beat }
    }

    /// Runs until the client goes, the process drains, or he may not be here any more.
    pub async fn run(mut self, mut entry: Entry, events: Receiver<Batch>) {
        let (app, out, session) = (self.app.clone(), self.out.clone(), entry.id());
        let User { account_id: account, user_id: user, .. } = self.caller;
        let outcome = tokio::select! {
            biased;
            () = app.drain.begun() => Err(Error::Interrupted.into()),
            () = out.closed() => Ok(()),
            () = entry.lost() => Err(why_lost(&app, account, user).await.into()),
            outcome = self.show(events) => outcome,
        };
        drop(entry);
        if let Err(error) = presence::end_session(app.database.pool(), account, session, app.clock.now()).await {
            tracing::warn!(error = chain(&error), "the end of a stream could not be noted; its lease will tell");
        }
        if let Err(status) = outcome {
            // Without waiting: the buffer of a client that does not read is full, and the end of the stream tells him enough.
            let _ = out.try_send(Err(status));
        }
    }

    async fn show(&mut self, mut events: Receiver<Batch>) -> Result<(), Status> {
        self.send(Shown::Ready(self.availability.clone())).await;
        if self.head != Position::START && self.returning && self.position.generation > self.head.generation {
            return Err(Error::CursorGone.into());
        }
        self.catch_up(self.head).await?;
        self.returning = false;
        loop {
            match timeout_at(self.beat, events.recv()).await {
                Err(_) => self.send(Shown::Heartbeat(to_proto(self.app.clock.now()))).await,
                Ok(Ok(batch)) => self.pass(&batch).await?,
                Ok(Err(RecvError::Closed)) => return Err(Error::Interrupted.into()),
                // The client was too slow for the buffer: what it dropped is read again.
                Ok(Err(RecvError::Lagged(_))) => {
                    let (head, fresh) = self.app.hub.subscribe();
                    events = fresh;
                    self.catch_up(head).await?;
                }
            }
        }
    }

    /// Shows what stands in the feed after our position, up to `head`.
    async fn catch_up(&mut self, head: Position) -> Result<(), Status> {
        if self.position >= head {
            return Ok(());
        }
        let mut responses = hub::open(&self.app, self.position).await?;
        while let Some(response) = responses.next().await {
            if let Some((end, batch)) = hub::decode(response?)? {
                self.pass(&batch).await?;
                self.position = self.position.max(end);
            }
            if self.position >= head {
                return Ok(());
            }
        }
        Err(Error::Interrupted.into())
    }

    async fn pass(&mut self, batch: &[Event]) -> Result<(), Status> {
        let account = self.caller.account_id;
        for event in batch.iter().filter(|event| event.account == account) {
            if event.position > self.position {
                self.position = event.position;
                self.one(&event.happened).await?;
            }
        }
        Ok(())
    }

    async fn one(&mut self, happened: &Happened) -> Result<(), Error> {
        let me = self.caller.user_id;
        match happened {
            Happened::Conversation(changed) => self.conversation(changed).await,
            Happened::Availability(now) if now.user_id == me.to_string() && *now != self.availability => {
                self.availability = now.clone();
                self.send(Shown::Availability(now.clone())).await;
            }
            Happened::Scope(whose) if whose.is_none_or(|user| user == me) => self.look_again().await?,
            Happened::WaitsLong(alert) => self.alert(alert).await,
            Happened::Board(_) | Happened::Availability(_) | Happened::Scope(_) => {}
        }
        Ok(())
    }

    /// Who directs the team is told.
    async fn alert(&mut self, alert: &ConversationWaitsLong) {
        let team = alert.conversation.as_ref().and_then(|conversation| Uuid::try_parse(&conversation.team_id).ok());
        if team.is_some_and(|team| directs(&self.view.scope, team)) {
            let mut alert = alert.clone();
            alert.conversation.iter_mut().for_each(|conversation| mask(conversation, &self.caller));
            self.send(Shown::WaitsLong(alert)).await;
        }
    }

    async fn conversation(&mut self, changed: &ConversationChanged) {
        let Some(after) = &changed.conversation else { return };
        let Ok(id) = Uuid::try_parse(&after.id) else { return };
        let word = self.view.word(Change {
            transaction: self.position.transaction,
            id,
            version: after.version,
            before: facts(changed.previous_state(), &changed.previous_team_id, &changed.previous_holder_id),
            after: facts(after.state(), &after.team_id, &after.holder_id),
        });
        match word {
            Word::Nothing => {}
            Word::Gone => self.gone(id).await,
            Word::Changed => {
                let mut shown = changed.clone();
                if let Some(conversation) = &mut shown.conversation {
                    mask(conversation, &self.caller);
                }
                self.send(Shown::Changed(shown)).await;
            }
        }
    }

    /// What he may see may have changed: what he sees no longer leaves the stream.
    async fn look_again(&mut self) -> Result<(), Error> {
        let pool = self.app.database.pool();
        match users::find(pool, self.caller.account_id, self.caller.user_id).await? {
            Some((_, false)) => return Err(Error::Deactivated),
            Some((role, true)) => self.caller.role = Role::try_from(i32::from(role)).unwrap_or(Role::User),
            None => {}
        }
        let before = std::mem::replace(&mut self.view.scope, scopes::of(pool, &self.caller).await?);
        match (before == self.view.scope, self.returning) {
            (true, false) => Ok(()),
            // What he saw at his cursor is not known, so what left since cannot be told.
            (_, true) => Err(Error::CursorGone),
            (false, false) => {
                self.take_leave(&before).await?;
                // After the look: what has moved on before it is told by events of older transactions.
                self.view.faded(before, feed::next_transaction(self.app.database.pool()).await?);
                Ok(())
            }
        }
    }

    async fn take_leave(&mut self, before: &Scope) -> Result<(), Error> {
        for state in [State::Bot, State::Queued, State::Open, State::Snoozed] {
            let filter = Filter { state: Some(state), team: None, holder: None };
            let mut after = None;
            loop {
                let pool = self.app.database.pool();
                let page =
                    lists::list(pool, self.caller.account_id, before, filter, Part { after, limit: PAGE }).await?;
                let Some(last) = page.last() else { break };
                after = Some((last.created_at.to_jiff(), last.id));
                for gone in page {
                    if !self.view.scope.sees(gone.facts()?) {
                        self.gone(gone.id).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn gone(&mut self, id: Uuid) {
        self.send(Shown::GoneConversationId(id.to_string())).await;
    }

    async fn send(&mut self, event: Shown) {
        let Position { generation, transaction, sequence } = self.position;
        let cursor = format!("{generation}.{transaction}.{sequence}");
        // An error means that the client is gone, which ends the stream elsewhere.
        let _ = self.out.send(Ok(WatchInboxResponse { cursor, event: Some(event) })).await;
        self.beat = next_beat();
    }
}

/// When the next sign of life is due: at a whole second of this process, at most [`HEARTBEAT`] from now. Those of a thousand streams that
/// leave together cost a wake-up and a few packets, and one by one a thousand.
fn next_beat() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_secs((START.elapsed() + HEARTBEAT).as_secs())
}

/// Why a session is over in the database although its stream is open: the user was deactivated, or we were silent for too long.
async fn why_lost(app: &App, account: Uuid, user: Uuid) -> Error {
    match users::find(app.database.pool(), account, user).await {
        Ok(Some((_, false))) => Error::Deactivated,
        _ => Error::Interrupted,
    }
}
