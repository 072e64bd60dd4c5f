//! Serves a [`Front`] over TCP (HTTP/2), and lets go of clients without breaking a call.

use std::{
    io::{self, Cursor},
    net::SocketAddr,
    time::Duration,
};

use diwan_runtime::Drain;
use hyper::{body::Incoming, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::Front;

const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
const MAX_STREAMS: u32 = 1024;
/// What every client says first (RFC 9113 section 3.4), and how long he may take.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_LIMIT: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ServeError {
    address: SocketAddr,
    source: io::Error,
}

/// Listens on `address`; port 0 takes any free one.
///
/// # Errors
/// When the address is in use or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError { address, source })
}

/// Serves until the process drains: then it accepts nobody new, tells every client (GOAWAY), and ends when the calls
/// under way have ended or `grace` has passed.
pub async fn serve(listener: TcpListener, front: Front, drain: Drain, grace: Duration) {
    let connections = GracefulShutdown::new();
    while let Some(accepted) = drain.unless_begun(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(answer(stream, front.clone(), drain.clone(), connections.watcher()))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        tracing::warn!(service = front.name(), "calls were still under way when the grace period ended");
    }
}

async fn answer(stream: TcpStream, front: Front, drain: Drain, watcher: Watcher) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    // Who has said nothing yet has no call under way, and hyper would wait for him even while draining.
    let stream = match drain.unless_begun(greeted(stream)).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return tracing::debug!(%error, "a client that does not speak HTTP/2 was let go"),
        None => return,
    };
    let service = front.map_request(|request: http::Request<Incoming>| request.map(Body::new));
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        .max_concurrent_streams(MAX_STREAMS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Reads the preface and puts it back in front of what follows.
async fn greeted(mut stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
    let mut preface = [0; PREFACE.len()];
    tokio::time::timeout(PREFACE_LIMIT, stream.read_exact(&mut preface)).await??;
    if preface != *PREFACE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let (read, write) = stream.into_split();
    Ok(tokio::io::join(Cursor::new(preface).chain(read), write))
}
