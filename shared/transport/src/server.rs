//! Serves a [`Front`] over TCP (HTTP/2), and lets go of clients without breaking a call.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, time::Duration};

use diwan_runtime::Drain;
use http::Version;
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::body::Body;

use crate::{Front, connection::SHARED_WINDOW, jwks, preread::Preread, tls::Certified, web};

const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// What one client may have under way.
const CLIENTS_STREAMS: u32 = 1024;
/// Between services one connection carries a whole gateway, which has limits of its own: here only what a defect would open is stopped.
const SERVICES_STREAMS: u32 = 1 << 20;
/// The head of a request over HTTP/1.1, bytes: as much as hyper takes over HTTP/2.
const HEAD: usize = 16 * 1024;
/// What lies here of an answer whose reader takes nothing, bytes; hyper would take 400 KiB.
const UNSENT: usize = 64 * 1024;
/// What every client of HTTP/2 says first (RFC 9113 section 3.4), and how long he may take; no call of gRPC-Web is shorter.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_LIMIT: Duration = Duration::from_secs(10);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptor left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whose connection a request came over, in the extensions of each request that came over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Whom a connection leads to.
#[derive(Clone, Debug)]
struct Connection {
    peer: Peer,
    /// Where both sides show certificates.
    certified: Option<Certified>,
}

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
    let connections = Drain::new();
    while let Some(accepted) = drain.unless_begun(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(answer(stream, Peer(peer), front.clone(), drain.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if !connections.finished(grace).await {
        tracing::warn!(service = front.name(), "calls were still under way when the grace period ended");
    }
}

async fn answer(stream: TcpStream, peer: Peer, front: Front, drain: Drain) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let Some(tls) = front.doorway.tls.clone() else {
        return converse(stream, Connection { peer, certified: None }, front, drain).await;
    };
    match drain.unless_begun(timeout(HANDSHAKE_LIMIT, tls.accept(stream))).await {
        Some(Ok(Ok((stream, certified)))) => converse(stream, Connection { peer, certified }, front, drain).await,
        Some(Ok(Err(error))) => tracing::info!(%error, peer = %peer.0, service = front.name(), "no TLS with a client"),
        Some(Err(_)) => tracing::debug!("a client that took too long to shake hands was let go"),
        None => {}
    }
}

async fn converse<S>(stream: S, connection: Connection, front: Front, drain: Drain)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Who has said nothing yet has no call under way, and hyper would wait for him even while draining.
    let stream = match drain.unless_begun(greeted(stream)).await {
        Some(Ok(greeted)) => greeted,
        Some(Err(error)) => return tracing::debug!(%error, "a client that said nothing sensible was let go"),
        None => return,
    };
    let ending = ending(drain, front.doorway.longest_connection);
    let speaks_http1 = front.doorway.origins.is_some() || front.doorway.publishes_keys;
    let ended = match (stream.beginning() == PREFACE, speaks_http1) {
        (true, _) => until(ending, http2(TokioIo::new(stream), connection, front)).await,
        (false, true) => until(ending, http1(TokioIo::new(stream), connection, front)).await,
        (false, false) => return tracing::debug!("a client that does not speak HTTP/2 was let go"),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

fn http2<I: Read + Write + Unpin + 'static>(
    stream: I,
    connection: Connection,
    front: Front,
) -> impl GracefulConnection<Error = hyper::Error> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE).keep_alive_timeout(KEEPALIVE_ANSWER);
    builder.max_send_buf_size(UNSENT).max_concurrent_streams(CLIENTS_STREAMS);
    if front.audited.is_some() {
        between_services(&mut builder);
    }
    builder.serve_connection(stream, service_fn(move |request| respond(front.clone(), connection.clone(), request)))
}

/// One connection carries everybody's calls, and its peer is no stranger: h2's bounds against hostile peers would end it for all when
/// one client cancels many calls at a time, or when a method takes its time to read a request. Strangers meet them at the gateway.
fn between_services(builder: &mut http2::Builder<TokioExecutor>) {
    builder.max_concurrent_streams(SERVICES_STREAMS).initial_connection_window_size(SHARED_WINDOW);
    builder.max_pending_accept_reset_streams(usize::MAX).max_local_error_reset_streams(None);
}

fn http1<I: Read + Write + Unpin + 'static>(
    stream: I,
    connection: Connection,
    front: Front,
) -> impl GracefulConnection<Error = hyper::Error> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .max_header_size(HEAD)
        .max_buf_size(UNSENT)
        .serve_connection(stream, service_fn(move |request| respond(front.clone(), connection.clone(), request)))
}

async fn respond(
    front: Front,
    connection: Connection,
    mut request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    if front.doorway.publishes_keys && jwks::is_asked_for(&request) {
        return Ok(match front.hear(request.headers()) {
            Ok(()) => jwks::answer(front.admission(), &request),
            Err(fault) => jwks::refused(&fault),
        });
    }
    front.believe_only_the_gateway(request.headers_mut(), connection.certified.as_ref());
    request.extensions_mut().insert(connection.peer);
    if let Some(certified) = connection.certified {
        request.extensions_mut().insert(certified);
    }
    let request = request.map(Body::new);
    Ok(match front.doorway.origins.clone() {
        Some(origins) => web::answer(front, &origins, request).await,
        None if request.version() != Version::HTTP_2 => jwks::not_found(),
        None => front.answer(request).await,
    })
}

/// Completes when the process drains or the connection is old; not all of one age at the same moment, or those who
/// connected together would return together.
async fn ending(drain: Drain, longest: Option<Duration>) {
    match longest.map(|longest| longest.mul_f64(rand::random_range(0.9..=1.1))) {
        Some(age) => drop(drain.unless_begun(tokio::time::sleep(age)).await),
        None => drain.begun().await,
    }
}

/// Serves `connection`; from when `ending` completes it takes no new calls, and ends with those under way.
async fn until<C: GracefulConnection>(ending: impl Future<Output = ()>, connection: C) -> Result<(), C::Error> {
    let graceful = GracefulShutdown::new();
    let connection = graceful.watch(connection);
    let ending = async {
        ending.await;
        graceful.shutdown().await;
    };
    tokio::select! {
        ended = connection => ended,
        () = ending => Ok(()),
    }
}

/// Waits for the preface.
async fn greeted<S: AsyncRead + Unpin>(stream: S) -> io::Result<Preread<S, { PREFACE.len() }>> {
    timeout(PREFACE_LIMIT, Preread::new(stream)).await?
}
