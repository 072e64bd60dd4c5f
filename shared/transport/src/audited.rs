//! Says who calls, for the audit log, around each request; an operator's call is written down before it is answered.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use diwan_access::Caller;
use diwan_audit::{
    OperatorLog, operator,
    origin::{self, Call},
};
use diwan_fault::{Code, Fault};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::{Status, body::Body};

use crate::{CLIENT_ADDRESS, GrpcService, Peer};

/// As much as a service takes in one message, and its head.
const LONGEST: usize = 4 * 1024 * 1024 + 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a front does for the audit log.
#[derive(Clone, Default)]
pub(crate) struct Audited {
    /// Where calls of operators are written down; a gateway leaves that to the services.
    pub(crate) operators: Option<Arc<dyn OperatorLog>>,
}

impl Audited {
    /// Lets `behind` answer a request whose caller stands in its extensions.
    pub(crate) async fn answer(&self, request: Request<Body>, behind: &dyn GrpcService) -> Response<Body> {
        let caller = request.extensions().get().cloned().unwrap_or(Caller::Nobody);
        let call = Arc::new(call_of(&caller, &request));
        let answered = async {
            match (&self.operators, caller) {
                (Some(log), Caller::Operator(_)) => match written_down(log.as_ref(), request).await {
                    Ok(request) => behind.answer(request).await,
                    Err(fault) => Status::from(fault).into_http(),
                },
                _ => behind.answer(request).await,
            }
        };
        let answer = origin::scope(call.clone(), answered).await;
        answer.map(|body| Body::new(Originated { body, call }))
    }
}

fn call_of(caller: &Caller, request: &Request<Body>) -> Call {
    // What is left of this header here, the gateway said.
    let told = request.headers().get(CLIENT_ADDRESS).and_then(|address| address.to_str().ok()?.parse::<IpAddr>().ok());
    let address = told.or_else(|| request.extensions().get().map(|Peer(peer)| peer.ip()));
    Call::new(caller, request.uri().path(), address, origin::told(request.headers()))
}

async fn written_down(log: &dyn OperatorLog, request: Request<Body>) -> Result<Request<Body>, Fault> {
    let (parts, body) = request.into_parts();
    let read = Limited::new(body, LONGEST).collect().await;
    let bytes = read.map_err(|_| Fault::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"))?.to_bytes();
    let (account, record) = operator::record(parts.uri.path(), &bytes);
    let written = log.write(account, record).await;
    written.map_err(|refused| Fault::unavailable(refused, RETRY_AFTER))?;
    Ok(Request::from_parts(parts, Body::new(Full::new(bytes))))
}

/// The body of an answer, produced as its request's: most of a stream happens after its head was answered.
struct Originated {
    body: Body,
    call: Arc<Call>,
}

impl HttpBody for Originated {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, call } = &mut *self;
        origin::sync_scope(call.clone(), || Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
