//! What generated clients call through: a service in this process or behind a channel.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use diwan_access::{SERVICE_TOKEN, Signer};
use diwan_audit::origin;
use diwan_fault::{Fault, language};
use http::{HeaderMap, HeaderValue, Request, Response, header::ACCEPT_LANGUAGE};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, body::Body};
use tower::Service;
use tracing::Instrument as _;

use crate::{
    BoxError, Front,
    channel::Channel,
    context,
    deadline::{self, Limited},
    exchange::{Answer, Unsendable},
    forwarded::GATEWAY_TOKEN,
    tls::Certified,
    trace,
};

const NOT_YET: Duration = Duration::from_millis(200);

/// A way to one service. Clones are cheap and share the connection.
#[derive(Clone)]
pub struct Transport {
    service: &'static str,
    target: Target,
    signer: Option<Signer>,
    gateway: Option<Signer>,
    timeout: Option<Duration>,
}

#[derive(Clone)]
enum Target {
    Local(Arc<OnceLock<Front>>),
    Remote(Channel),
}

impl Transport {
    pub(crate) fn local(service: &'static str, front: Arc<OnceLock<Front>>) -> Self {
        Self { service, target: Target::Local(front), signer: None, gateway: None, timeout: None }
    }

    pub(crate) fn remote(service: &'static str, channel: Channel) -> Self {
        Self { service, target: Target::Remote(channel), signer: None, gateway: None, timeout: None }
    }

    /// Calls with the token of `signer`'s service.
    #[must_use]
    pub fn signed(mut self, signer: &Signer) -> Self {
        self.signer = Some(signer.clone());
        self
    }

    /// Passes on what somebody else asked, as the gateway, whose `signer` it is: the service may believe what is told of him.
    #[must_use]
    pub fn forwarding(mut self, signer: &Signer) -> Self {
        self.gateway = Some(signer.clone());
        self
    }

    /// Gives each call at most so long, less where the present request's deadline is nearer. Not for streams.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// As a call of the service that it is, without a clone for each.
    ///
    /// # Errors
    /// A status in a box: what became of the call, where no answer came.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let method = request.uri().clone();
        let span = match self.gateway {
            Some(_) => trace::passed_on(request.headers_mut(), method.path()),
            None => trace::outgoing(request.headers_mut(), method.path()),
        };
        let deadline = self.deadline(&request);
        if let Some(deadline) = deadline {
            deadline::set(request.headers_mut(), deadline);
        }
        if let Some(signer) = &self.signer {
            request.headers_mut().insert(SERVICE_TOKEN, self.token(signer)?);
            origin::tell(request.headers_mut());
        }
        if let (Some(signer), Target::Remote(_)) = (&self.gateway, &self.target) {
            request.headers_mut().insert(GATEWAY_TOKEN, self.token(signer)?);
        }
        let language = HeaderValue::from_static(language::current().tag());
        request.headers_mut().entry(ACCEPT_LANGUAGE).or_insert(language);
        // Boxed: each of the layers around it would keep room for it more than once, and move all of it.
        in_time(deadline, Box::pin(self.dispatch(request))).instrument(span).await
    }

    fn token(&self, signer: &Signer) -> Result<HeaderValue, BoxError> {
        Ok(signer.service_token(self.service)?)
    }

    /// The nearest of: what this call was given, what this transport gives, what is left of the present request's time.
    fn deadline(&self, request: &Request<Body>) -> Option<Instant> {
        let own = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        [deadline::of(request.headers()).ok().flatten(), own, context::deadline()].into_iter().flatten().min()
    }

    async fn dispatch(&self, mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        match &self.target {
            Target::Local(front) => {
                let front = front.get().ok_or_else(|| {
                    Status::from(Fault::unavailable(format!("{} has not started", self.service), NOT_YET))
                })?;
                // Whoever a request came from before: this process calls now.
                request.extensions_mut().remove::<Certified>();
                Ok(Box::pin(front.answer(request)).await)
            }
            Target::Remote(channel) => {
                let response = channel.send(request).await;
                response.map(|response| response.map(|body| Body::new(Unbroken(body)))).map_err(failed)
            }
        }
    }
}

async fn in_time(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<Response<Body>, BoxError>>,
) -> Result<Response<Body>, BoxError> {
    let Some(deadline) = deadline else { return answer.await };
    match timeout_at(deadline, answer).await {
        Ok(response) => response.map(|response| response.map(|body| Body::new(Limited::new(body, deadline)))),
        Err(_) => Err(deadline::exceeded().into()),
    }
}

/// Whatever became of the connection: nothing has been answered. A request that was never sent says nothing of the service.
fn failed(error: BoxError) -> BoxError {
    let unsendable = error.is::<Unsendable>();
    Status::from(if unsendable { Fault::internal(error) } else { Fault::unavailable(error, NOT_YET) }).into()
}

/// The body of an answer over TCP. A connection that is lost on the way becomes a status, UNAVAILABLE as at the start of a
/// call: a gateway can pass that on, where a body that fails is INTERNAL to its client.
struct Unbroken(Answer);

impl HttpBody for Unbroken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                frame.or_else(|error| {
                    let mut trailers = HeaderMap::new();
                    Status::from(Fault::unavailable(error, NOT_YET)).add_header(&mut trailers)?;
                    Ok(Frame::trailers(trailers))
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Readiness is awaited inside the call, under its deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let transport = self.clone();
        Box::pin(async move { transport.send(request).await })
    }
}
