//! What makes an agent present: an open inbox, opened anew on another replica when its process dies, or the heartbeats of a client that
//! keeps no stream.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use diwan_proto::conversation::v1::{
    WatchInboxRequest, inbox_service_client::InboxServiceClient, watch_inbox_response::Event as Shown,
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request};

use crate::{call::At, person::Person, stage::Stage};

const PAUSE: Duration = Duration::from_millis(100);
/// The next heartbeat is expected after two seconds.
const BEAT: Duration = Duration::from_millis(700);
/// One in so many keeps no stream.
const BEATING: usize = 4;

/// Opens an inbox for everybody. The owner's shows everything, and goes on after its last event wherever it was cut.
pub(crate) fn open(stage: &Arc<Stage>) -> JoinSet<()> {
    let mut desks = JoinSet::new();
    for number in 0..stage.agents.len() {
        if number % BEATING == BEATING - 1 {
            desks.spawn(beat(stage.clone(), number));
        } else {
            desks.spawn(sit(stage.clone(), number));
        }
    }
    desks.spawn(oversee(stage.clone()));
    desks
}

/// An agent's inbox is open as long as he wants it to be.
async fn sit(stage: Arc<Stage>, number: usize) {
    let agent = stage.agents[number].clone();
    for turn in number.. {
        if agent.is_wanted() {
            tokio::select! {
                () = watch(&stage, &agent, turn) => sleep(PAUSE).await,
                () = agent.turned.notified() => {}
            }
        } else {
            agent.turned.notified().await;
        }
    }
}

/// An agent's client says that he is there as long as he wants to be.
async fn beat(stage: Arc<Stage>, number: usize) {
    let agent = stage.agents[number].clone();
    for turn in number.. {
        if agent.is_wanted() {
            // Whatever it was refused for: the next one tries again.
            let _ = stage.beat(At::Replica(turn), &agent, false).await;
            sleep(BEAT).await;
        } else {
            agent.turned.notified().await;
        }
    }
}

async fn watch(stage: &Stage, agent: &Person, turn: usize) {
    let token = agent.token().await;
    let Ok(value) = format!("Bearer {token}").parse() else { return };
    let mut request = Request::new(WatchInboxRequest::default());
    request.metadata_mut().insert("authorization", value);
    let channel = stage.replicas[turn % stage.replicas.len()].clone();
    match InboxServiceClient::new(channel).watch_inbox(request).await {
        Ok(stream) => {
            let mut stream = stream.into_inner();
            while let Ok(Some(_)) = stream.message().await {}
        }
        Err(status) if status.code() == Code::Unauthenticated => {
            // He may be deactivated: then this fails, and he tries again.
            let _ = agent.again(&token).await;
        }
        Err(_) => {}
    }
}

async fn oversee(stage: Arc<Stage>) {
    let mut cursor = String::new();
    for turn in 0.. {
        let token = stage.owner.token().await;
        let Ok(value) = format!("Bearer {token}").parse() else { return };
        let mut request = Request::new(WatchInboxRequest { cursor: cursor.clone() });
        request.metadata_mut().insert("authorization", value);
        let channel = stage.replicas[turn % stage.replicas.len()].clone();
        let ended = match InboxServiceClient::new(channel).watch_inbox(request).await {
            Ok(stream) => follow(&stage, stream.into_inner(), &mut cursor).await,
            Err(status) => Some(status.code()),
        };
        if ended == Some(Code::OutOfRange) {
            cursor.clear();
            stage.book.told().stream_began_anew = true;
        }
        if ended == Some(Code::Unauthenticated) {
            let _ = stage.owner.again(&token).await;
        }
        sleep(PAUSE).await;
    }
}

async fn follow(
    stage: &Stage,
    mut stream: tonic::Streaming<diwan_proto::conversation::v1::WatchInboxResponse>,
    cursor: &mut String,
) -> Option<Code> {
    loop {
        let response = match stream.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return None,
            Err(status) => return Some(status.code()),
        };
        *cursor = response.cursor;
        stage.overseen.store(true, Ordering::SeqCst);
        let Some(Shown::Changed(changed)) = response.event else { continue };
        let Some(conversation) = changed.conversation else { continue };
        stage.board.seen(&conversation);
        if let Ok(id) = conversation.id.parse() {
            let mut told = stage.book.told();
            *told.shown.entry(id).or_default().entry(conversation.version).or_default() += 1;
        }
    }
}
