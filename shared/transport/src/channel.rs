//! The connection to a service in another process (HTTP/2): made when it is first needed, and anew when it was lost.
//!
//! tonic's channel does the same behind a queue and a task of its own, which every call passes through, and hyper's client behind
//! others: at a gateway they cost as much as checking who calls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::client::SendRequest;
use http::{Request, Response, Uri, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, timeout};
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use crate::{
    BoxError,
    connection::shake_hands,
    exchange::{Answer, exchange},
    tls::Secured,
};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A way to one service over TCP. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Channel(Arc<Shared>);

struct Shared {
    address: Uri,
    tcp: HttpConnector,
    tls: Option<Secured>,
    open: Mutex<Option<SendRequest<Bytes>>>,
    attempt: tokio::sync::Mutex<Option<Failure>>,
}

/// An attempt to connect that came to nothing.
struct Failure {
    at: Instant,
    why: Unreachable,
}

/// Nobody answers at a service's address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no connection to the service")]
struct Unreachable(#[source] Arc<dyn std::error::Error + Send + Sync>);

impl Channel {
    /// To the service at `address`, over `tls` if it is given.
    pub(crate) fn new(address: Uri, tls: Option<Secured>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Self(Arc::new(Shared { address, tcp, tls, open: Mutex::default(), attempt: tokio::sync::Mutex::default() }))
    }

    /// Sends one request, once.
    ///
    /// # Errors
    /// When nobody answers at the address, or the connection is lost before the head of the answer.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let connection = self.connection().await?;
        let mut uri = self.0.address.clone().into_parts();
        uri.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(uri)?;
        *request.version_mut() = Version::HTTP_2;
        exchange(connection, request).await
    }

    async fn connection(&self) -> Result<SendRequest<Bytes>, BoxError> {
        match self.open() {
            Some(open) => Ok(open),
            // Boxed: what connecting takes up, no other call has to carry along.
            None => Box::pin(self.reconnect()).await,
        }
    }

    /// Invariant: one attempt to connect at a time, which the lock of `attempt` enforces. Whoever waited while it failed has his
    /// answer and does not try once more, or a hundred calls would wait for a hundred attempts.
    async fn reconnect(&self) -> Result<SendRequest<Bytes>, BoxError> {
        let asked = Instant::now();
        let mut attempt = self.0.attempt.lock().await;
        if let Some(open) = self.open() {
            return Ok(open);
        }
        if let Some(failure) = attempt.as_ref().filter(|failure| failure.at >= asked) {
            return Err(failure.why.clone().into());
        }
        let connecting = timeout(CONNECT_LIMIT, self.connect());
        match connecting.await.unwrap_or_else(|late| Err(late.into())) {
            Ok(connection) => {
                *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let why = Unreachable(error.into());
                *attempt = Some(Failure { at: Instant::now(), why: why.clone() });
                Err(why.into())
            }
        }
    }

    /// The present connection, unless it has ended or the service has asked to end it.
    fn open(&self) -> Option<SendRequest<Bytes>> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let ready = std::future::poll_fn(|cx| open.poll_ready(cx)).now_or_never();
        matches!(ready, Some(Ok(()))).then_some(open)
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, BoxError> {
        let address = self.0.address.clone();
        Ok(match self.0.tls.clone() {
            Some(mut tls) => shake_hands(tls.ready().await?.call(address).await?).await?,
            None => shake_hands(self.0.tcp.clone().ready().await?.call(address).await?).await?,
        })
    }
}
