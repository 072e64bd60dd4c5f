//! BoardService.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use diwan_access::{User, user};
use diwan_fault::{Fields, language};
use diwan_feed::time::to_proto;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        GetBoardRequest, GetBoardResponse, SetMemberAvailabilityRequest, SetMemberAvailabilityResponse,
        WatchBoardRequest, WatchBoardResponse, board_service_server::BoardService,
        watch_board_response::Event as Shown,
    },
};
use diwan_store::answers;
use sqlx::PgConnection;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, inbox::chosen};
use crate::{
    Error,
    app::App,
    flow::{
        self,
        authority::{directs, require_director},
    },
    store::{
        board::{self, Board},
        scopes, slots, users,
    },
    worker::hub::{Batch, Happened},
};

/// A sign of life comes at least every thirty seconds.
const HEARTBEAT: Duration = Duration::from_secs(27);
/// Changes that follow one another within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(200);
/// How many times as long as a board takes to be read it rests before it is read again: a huge queue must not keep the database busy.
const REST: u32 = 10;
/// How many responses wait for a client that reads slowly.
const BUFFER: usize = 4;

#[tonic::async_trait]
impl BoardService for Api {
    type WatchBoardStream = ReceiverStream<Result<WatchBoardResponse, Status>>;

    async fn get_board(&self, request: Request<GetBoardRequest>) -> Result<Response<GetBoardResponse>, Status> {
        let caller = user(&request)?;
        let team = self.asked(&caller, &request.get_ref().team_id).await?;
        let board = look(&self.0, &mut caller.clone(), team).await?;
        Ok(Response::new(GetBoardResponse { board: Some(board.to_proto(self.0.clock.now())) }))
    }

    async fn watch_board(
        &self,
        request: Request<WatchBoardRequest>,
    ) -> Result<Response<Self::WatchBoardStream>, Status> {
        let caller = user(&request)?;
        let team = self.asked(&caller, &request.get_ref().team_id).await?;
        // Before the board is read: whatever changes after that comes as an event.
        let (_, events) = self.0.hub.subscribe();
        let (out, responses) = mpsc::channel(BUFFER);
        let mut watch = Watch { app: self.0.clone(), caller, team, out, last: None, beat: Instant::now() + HEARTBEAT };
        // Who may not see it learns so at once.
        watch.show().await?;
        self.0.drain.spawn(language::scope(language::current(), watch.run(events)));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn set_member_availability(
        &self,
        request: Request<SetMemberAvailabilityRequest>,
    ) -> Result<Response<SetMemberAvailabilityResponse>, Status> {
        let caller = user(&request)?;
        let scope = self.scope(&caller).await?;
        require_director(&scope)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let member = (fields.uuid("team_id", &message.team_id), fields.uuid("user_id", &message.user_id));
        let state = chosen(&mut fields, message.state());
        fields.finish()?;
        let account = caller.account_id;
        let once = answers::Request::new(account, &request_id, "SetMemberAvailability", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let set = async |tx: &mut PgConnection| {
            let present = flow::direct::switch_member(tx, (account, &scope), member, state, now).await?;
            Ok::<_, Error>(SetMemberAvailabilityResponse { availability: Some(present.to_proto()) })
        };
        let answer = self.0.database.answer_once(&once, now, set).await?;
        let teams = slots::teams_of(&mut *self.connection().await?, account, member.1).await?;
        self.0.wake(teams.into_iter().map(|team| (account, team)));
        Ok(Response::new(answer))
    }
}

impl Api {
    /// The team that is asked for, by somebody who directs any.
    async fn asked(&self, caller: &User, team: &str) -> Result<Uuid, Status> {
        require_director(&self.scope(caller).await?)?;
        let mut fields = Fields::new();
        let team = fields.uuid("team_id", team);
        fields.finish()?;
        Ok(team)
    }
}

/// The board as it is now, if the caller may still use it. His role is the one that he has now, too.
async fn look(app: &App, caller: &mut User, team: Uuid) -> Result<Board, Error> {
    let pool = app.database.pool();
    match users::find(pool, caller.account_id, caller.user_id).await? {
        Some((_, false)) => return Err(Error::Deactivated),
        Some((role, true)) => caller.role = Role::try_from(i32::from(role)).unwrap_or(Role::User),
        None => {}
    }
    if !directs(&scopes::of(pool, caller).await?, team) {
        return Err(Error::NotAllowed);
    }
    board::read(pool, caller.account_id, team).await?.ok_or(Error::TeamNotFound)
}

/// One open board. Invariant: what it showed last is the board as it was after every change that it has heard of, or it looks again.
struct Watch {
    app: Arc<App>,
    caller: User,
    team: Uuid,
    out: mpsc::Sender<Result<WatchBoardResponse, Status>>,
    /// What it showed last, and whom that may concern.
    last: Option<(Board, BTreeSet<String>)>,
    beat: Instant,
}

impl Watch {
    /// Runs until the client goes, the process drains, or the caller may not see it any more.
    async fn run(mut self, events: Receiver<Batch>) {
        let (app, out) = (self.app.clone(), self.out.clone());
        let outcome = tokio::select! {
            biased;
            () = app.drain.begun() => Err(Error::Interrupted),
            () = out.closed() => Ok(()),
            outcome = self.follow(events) => outcome,
        };
        if let Err(error) = outcome {
            // Without waiting: the buffer of a client that does not read is full, and the end of the stream tells him enough.
            let _ = out.try_send(Err(error.into()));
        }
    }

    async fn follow(&mut self, mut events: Receiver<Batch>) -> Result<(), Error> {
        // What it has heard of and not looked at; when it may look.
        let (mut changed, mut rested) = (false, Instant::now() + TOGETHER);
        loop {
            if changed && Instant::now() >= rested {
                changed = false;
                rested = self.show().await? + TOGETHER;
            }
            match timeout_at(if changed { rested } else { self.beat }, events.recv()).await {
                Ok(Ok(batch)) => changed |= self.concerns(&batch),
                // What was missed may have been anything.
                Ok(Err(RecvError::Lagged(_))) => changed = true,
                Ok(Err(RecvError::Closed)) => return Err(Error::Interrupted),
                Err(_) if changed => {}
                Err(_) => self.send(Shown::Heartbeat(to_proto(self.app.clock.now()))).await,
            }
        }
    }

    /// Shows the board if it is another than the last. Returns when it may be read again.
    async fn show(&mut self) -> Result<Instant, Error> {
        let begun = Instant::now();
        let board = look(&self.app, &mut self.caller, self.team).await?;
        let rested = Instant::now() + begun.elapsed() * REST;
        if self.last.as_ref().is_none_or(|(last, _)| *last != board) {
            self.send(Shown::Board(board.to_proto(self.app.clock.now()))).await;
            let people = board.people().map(|user| user.to_string()).collect();
            self.last = Some((board, people));
        }
        Ok(rested)
    }

    /// Whether the board, or the right to see it, may be another after these events.
    fn concerns(&self, batch: &Batch) -> bool {
        let team = self.team.to_string();
        let known = |user: &str| self.last.as_ref().is_some_and(|(_, people)| people.contains(user));
        let ours = batch.iter().filter(|event| event.account == self.caller.account_id);
        ours.into_iter().any(|event| match &event.happened {
            Happened::Conversation(changed) => {
                changed.previous_team_id == team
                    || changed.conversation.as_ref().is_some_and(|conversation| conversation.team_id == team)
            }
            Happened::Availability(now) => known(&now.user_id),
            Happened::Board(of) => *of == self.team,
            Happened::Scope(whose) => whose.is_none_or(|user| user == self.caller.user_id),
            Happened::WaitsLong(_) => false,
        })
    }

    async fn send(&mut self, event: Shown) {
        // An error means that the client is gone, which ends the stream elsewhere.
        let _ = self.out.send(Ok(WatchBoardResponse { event: Some(event) })).await;
        self.beat = Instant::now() + HEARTBEAT;
    }
}
