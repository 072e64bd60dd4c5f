//! The one way into a service, whether a call comes over TCP or from the same process.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use diwan_access::{Admission, Caller};
use diwan_fault::{
    Code, Fault, Language,
    call::{self, Call},
    language,
};
use http::{HeaderMap, HeaderValue, Request, Response, header::ACCEPT_LANGUAGE};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, body::Body};
use tower::Service;
use tracing::{Instrument as _, Span};

use crate::{
    ANSWERED_BY, Origins, Tls,
    audited::Audited,
    context,
    cut::Revocable,
    deadline::{self, Limited},
    forwarded::{self, Proved},
    tls::Certified,
    trace,
};

/// Any error of a transport. Boxed and kept: unwrapping it would lose the status code inside.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Something that answers gRPC calls: a service's methods, or a gateway that passes them on.
pub trait GrpcService: Send + Sync + 'static {
    /// Answers one call. Every failure is a status in the answer.
    fn answer(&self, request: Request<Body>) -> Answer;

    /// Refuses the call of an operator, who stands in its extensions, with `fault`. A gateway, which writes down nothing, tells the service
    /// that does, without the message: whatever that one's table says, no handler is reached.
    fn refuse(&self, _request: Request<Body>, fault: Fault) -> Answer {
        let answer = Status::from(fault).into_http();
        Box::pin(async move { answer })
    }
}

/// Continues the trace, keeps the deadline, chooses the language and admits the caller, then calls what is behind it.
#[derive(Clone)]
pub struct Front {
    name: &'static str,
    admission: Admission,
    behind: Arc<dyn GrpcService>,
    proved: Proved,
    /// `None` where calls are passed on.
    pub(crate) audited: Option<Audited>,
    pub(crate) doorway: Doorway,
}

/// How a front is served over TCP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doorway {
    /// Whose pages may call by gRPC-Web; without it only gRPC is spoken.
    pub(crate) origins: Option<Origins>,
    /// When a client is asked to connect anew.
    pub(crate) longest_connection: Option<Duration>,
    /// Whether the public keys of access tokens are served over HTTP, too.
    pub(crate) publishes_keys: bool,
    /// What is spoken under HTTP/2; without it whoever listens on the way reads along.
    pub(crate) tls: Option<Tls>,
}

impl Front {
    /// The way into the service `name`.
    pub fn new(name: &'static str, admission: Admission, behind: impl GrpcService) -> Self {
        let (behind, proved, doorway) = (Arc::new(behind), Proved::default(), Doorway::default());
        Self { name, admission, behind, proved, audited: Some(Audited::default()), doorway }
    }

    /// Speaks gRPC-Web, too, over HTTP/1.1 and HTTP/2, to programs and to pages of these origins.
    #[must_use]
    pub fn for_browsers(mut self, origins: Origins) -> Self {
        self.doorway.origins = Some(origins);
        self
    }

    /// Serves the public keys of access tokens, too: `/.well-known/jwks.json` over HTTP/1.1 and HTTP/2.
    #[must_use]
    pub fn publishing_keys(mut self) -> Self {
        self.doorway.publishes_keys = true;
        self
    }

    /// Leaves it to the services behind to say who calls, for the audit log, since they hear it from the caller's own token; and to
    /// record the call in its trace, unless this process sends its spans somewhere. Whoever calls here is outside: what services say
    /// to one another is refused.
    #[must_use]
    pub fn passing_on(mut self) -> Self {
        self.audited = None;
        self
    }

    /// Who is let in.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Asks clients to connect anew after about `age` (GOAWAY; calls under way end in peace): behind a balancer of
    /// connections, a new process gets its share of long-lived clients only so.
    #[must_use]
    pub fn renewing_connections(mut self, age: Duration) -> Self {
        self.doorway.longest_connection = Some(age);
        self
    }

    /// Speaks nothing but TLS. Between services, whoever speaks as a service has to bear its name in his certificate, too.
    #[must_use]
    pub fn behind_tls(mut self, tls: Tls) -> Self {
        self.doorway.tls = Some(tls);
        self
    }

    /// Takes away what only the gateway may say, where somebody else says it. At the gateway itself all of it is refused.
    pub(crate) fn believe_only_the_gateway(&self, headers: &mut HeaderMap, peer: Option<&Certified>) {
        if self.audited.is_some() {
            self.proved.believe_only_the_gateway(headers, peer, &self.admission, self.name);
        }
    }

    /// Refuses a caller from outside who says what only services say.
    ///
    /// # Errors
    /// See [`forwarded::from_outside`].
    pub(crate) fn hear(&self, headers: &HeaderMap) -> Result<(), Fault> {
        if self.audited.is_some() { Ok(()) } else { forwarded::from_outside(headers) }
    }

    /// The name of the service.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Answers one call.
    pub async fn answer(&self, mut request: Request<Body>) -> Response<Body> {
        let (span, call) = self.span(&mut request);
        let language = language_of(request.headers());
        let heard = self.hear(request.headers()).and_then(|()| deadline::of(request.headers()));
        let (deadline, answer) = match heard {
            Ok(deadline) => {
                // Boxed: each of the layers around it would keep room for it more than once, and move all of it.
                let answer = context::with_deadline(deadline, Box::pin(self.admit_and_answer(request)));
                let answer = language::scope(language, in_time(deadline, answer));
                (deadline, call::scope(call.clone(), answer).instrument(span.clone()).await)
            }
            Err(fault) => (None, language::sync_scope(language, || Status::from(fault)).into_http()),
        };
        answer.map(|body| Body::new(Continued { body, language, deadline, span, call }))
    }

    fn span(&self, request: &mut Request<Body>) -> (Span, Option<Call>) {
        if self.audited.is_none() {
            let method = request.uri().clone();
            return trace::passing(request.headers_mut(), &method);
        }
        (trace::incoming(request.headers(), request.uri().path()), None)
    }

    async fn admit_and_answer(&self, mut request: Request<Body>) -> Response<Body> {
        // Whatever an in-process caller put there is no proof of anything.
        request.extensions_mut().remove::<Caller>();
        let peer = request.extensions_mut().remove::<Certified>();
        match self.admission.admit(request.uri().path(), request.headers(), self.name) {
            Ok(caller) if speaks_as_another(peer.as_ref(), &caller) => {
                let _said_of = call::span().entered();
                tracing::warn!(?caller, "a service's token came over a connection with another name");
                Status::from(Fault::new(Code::Unauthenticated, "UNAUTHENTICATED")).into_http()
            }
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                let cut = self.admission.cut(request.uri().path(), request.headers());
                let mut answer = match &self.audited {
                    Some(audited) => audited.answer(request, &*self.behind).await,
                    None => self.behind.answer(request).await,
                };
                // The innermost says it: at the gateway, the service that let the caller in, too.
                answer.headers_mut().entry(ANSWERED_BY).or_insert(HeaderValue::from_static(self.name));
                match cut {
                    Some(cut) => answer.map(|body| Body::new(Revocable::new(body, cut))),
                    None => answer,
                }
            }
            Err(fault) => self.refuse(request, fault).await,
        }
    }

    /// Refuses whom admission has refused. Of an operator it is written down, once: by the service that refuses him, not by a gateway.
    async fn refuse(&self, mut request: Request<Body>, fault: Fault) -> Response<Body> {
        let Some(operator) = self.admission.refused_operator(&fault, request.headers(), self.name) else {
            return Status::from(fault).into_http();
        };
        request.extensions_mut().insert(operator);
        match &self.audited {
            Some(audited) => Status::from(audited.refuse(request, fault).await).into_http(),
            None => self.behind.refuse(request.map(|_| Body::empty()), fault).await,
        }
    }
}

/// Whether a service's token came over a connection whose certificate bears another name: it was stolen, or lent.
fn speaks_as_another(peer: Option<&Certified>, caller: &Caller) -> bool {
    match (peer, caller) {
        (Some(peer), Caller::Service(name)) => !peer.bears(name),
        _ => false,
    }
}

async fn in_time(deadline: Option<Instant>, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
    let Some(deadline) = deadline else { return answer.await };
    match timeout_at(deadline, answer).await {
        Ok(response) => response.map(|body| Body::new(Limited::new(body, deadline))),
        Err(_) => deadline::exceeded().into_http(),
    }
}

/// The body of an answer, produced in the context of its request: most of a stream happens after its head was answered.
struct Continued {
    body: Body,
    language: Language,
    deadline: Option<Instant>,
    span: Span,
    call: Option<Call>,
}

impl HttpBody for Continued {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, language, deadline, span, call } = &mut *self;
        let body = Pin::new(body);
        let next = || context::with_deadline_now(*deadline, || body.poll_frame(cx));
        let next = || language::sync_scope(*language, next);
        span.in_scope(|| call::sync_scope(call.clone(), next))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn language_of(headers: &HeaderMap) -> Language {
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    header.map(Language::of_header).unwrap_or_default()
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}
