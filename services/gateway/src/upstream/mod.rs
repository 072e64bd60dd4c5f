//! The way to one service: no more at once than it can do, none while it is dead, and reads tried again.

mod budget;
mod circuit;
mod concurrency;
mod line;
mod sign_ins;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use diwan_runtime::backoff::delay_after;
use diwan_transport::Transport;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::Service;

use crate::{
    error::Error,
    message::{self, Read, Reader},
    methods::{Class, Method, Methods},
};
use budget::Budget;
use circuit::Circuit;
pub(crate) use concurrency::Bounds;
use concurrency::Concurrency;
pub(crate) use sign_ins::SignIns;

/// A read is tried so often beside the first time.
const REPETITIONS: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// One service behind the gateway. Clones share everything.
#[derive(Clone)]
pub(crate) struct Upstream(Arc<Shared>);

struct Shared {
    service: &'static str,
    transport: Transport,
    methods: Arc<Methods>,
    concurrency: Concurrency,
    sign_ins: Arc<SignIns>,
    circuit: Circuit,
    budget: Budget,
    reader: Reader,
}

impl Upstream {
    /// The way to `service` over `transport`.
    pub(crate) fn new(
        service: &'static str,
        transport: Transport,
        methods: Arc<Methods>,
        (bounds, sign_ins): (Bounds, Arc<SignIns>),
        reader: Reader,
    ) -> Self {
        let concurrency = Concurrency::new(bounds, methods.count());
        let (circuit, budget) = (Circuit::new(), Budget::new());
        Self(Arc::new(Shared { service, transport, methods, concurrency, sign_ins, circuit, budget, reader }))
    }
}

impl Shared {
    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let Some(method) = self.methods.of(request.uri().path()).copied() else {
            return Err(Status::unimplemented("no such method"));
        };
        self.sign_ins.turn(&method).await;
        let (parts, body) = request.into_parts();
        if !method.one_request {
            let (body, watch) = message::watched(body, self.reader.longest(), None);
            return self.in_turn(&method, self.once(Request::from_parts(parts, body), Some(watch))).await;
        }
        // Read before the call takes its place: who sends slowly keeps nobody waiting but himself.
        match self.reader.read(body).await? {
            Read::Whole(bytes) if method.repeatable => {
                self.in_turn(&method, self.repeated(|| Request::from_parts(parts.clone(), full(&bytes)))).await
            }
            Read::Whole(bytes) => {
                self.in_turn(&method, self.once(Request::from_parts(parts, full(&bytes)), None)).await
            }
            // No token is needed for it, and whoever sent one slowly would keep a place that others need to get in.
            Read::Begun(_) if method.class == Class::SignIn => Err(Error::MessageTooLarge(message::HELD).into()),
            Read::Begun(body) => {
                let (body, watch) = message::watched(body, self.reader.longest(), Some(message::LONG));
                self.in_turn(&method, self.once(Request::from_parts(parts, body), Some(watch))).await
            }
        }
    }

    /// Runs `call` if there is room for it.
    async fn in_turn(
        &self,
        method: &Method,
        call: impl Future<Output = Result<Response<Body>, Status>>,
    ) -> Result<Response<Body>, Status> {
        let room = self.sign_ins.enter(method)?;
        let permit = self.concurrency.enter(method, Instant::now()).ok_or(Error::Overloaded(self.service))?;
        let answer = call.await;
        if let (Some(room), Ok(answer)) = (&room, &answer) {
            room.answered(code(answer.headers()));
        }
        if answer.as_ref().is_ok_and(|answer| code(answer.headers()) == Code::Ok) {
            permit.answered();
        }
        answer
    }

    async fn repeated(&self, request: impl Fn() -> Request<Body>) -> Result<Response<Body>, Status> {
        self.budget.earn();
        let mut repetitions = 0;
        loop {
            let answer = self.once(request(), None).await;
            let unavailable = match &answer {
                Ok(response) => code(response.headers()) == Code::Unavailable,
                Err(status) => status.code() == Code::Unavailable,
            };
            if !unavailable || repetitions == REPETITIONS || !self.budget.spend() {
                return answer;
            }
            tokio::time::sleep(delay_after(repetitions, FIRST_PAUSE, LONGEST_PAUSE)).await;
            repetitions += 1;
        }
    }

    async fn once(&self, request: Request<Body>, body: Option<message::Watch>) -> Result<Response<Body>, Status> {
        let down = |retry_after| Error::Down { service: self.service, retry_after };
        let pass = self.circuit.enter(Instant::now()).map_err(down)?;
        match self.transport.send(request).await {
            Ok(response) => {
                pass.tell(true, Instant::now());
                Ok(response)
            }
            Err(error) => {
                let status = Status::from_error(error);
                // A client that breaks off its request, or gives it no time, says nothing of the service.
                let clients_fault = body.as_ref().is_some_and(message::Watch::failed);
                if status.code() == Code::Unavailable && !clients_fault {
                    pass.tell(false, Instant::now());
                }
                Err(body.and_then(|body| body.cut_off()).map_or(status, Status::from))
            }
        }
    }
}

fn full(bytes: &Bytes) -> Body {
    Body::new(Full::new(bytes.clone()))
}

/// The code of an answer that is a refusal from its head on; otherwise it has begun well.
fn code(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

impl Service<Request<Body>> for Upstream {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { Ok(shared.answer(request).await.unwrap_or_else(Status::into_http)) })
    }
}
