//! Says who calls, for the audit log, around each request; an operator's call is written down before it is answered or refused.

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
use tokio::time::Instant;
use tonic::{Status, body::Body};

use crate::{CLIENT_ADDRESS, GrpcService, Peer, refusals::Refusals};

/// As much as a service takes in one message, and its head.
const LONGEST: usize = 4 * 1024 * 1024 + 5;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a front does for the audit log.
#[derive(Clone, Default)]
pub(crate) struct Audited {
    /// Where calls of operators are written down; a gateway leaves that to the services.
    pub(crate) operators: Option<Arc<dyn OperatorLog>>,
    /// How many refusals of operators are written down, of all who share this front.
    refusals: Arc<Refusals>,
}

impl Audited {
    /// Writes down where calls of operators are written down at all.
    pub(crate) fn new(operators: Option<Arc<dyn OperatorLog>>) -> Self {
        Self { operators, refusals: Arc::default() }
    }

    /// Refuses an operator, who stands in the extensions of his request, with `fault`: not before it is written down. Who is over what
    /// [`Refusals`] allows is told that instead, and nothing is written.
    pub(crate) async fn refuse(&self, request: Request<Body>, fault: Fault) -> Fault {
        let Some(log) = &self.operators else { return fault };
        if let Err(wait) = self.refusals.take(Instant::now()) {
            return Fault::new(Code::ResourceExhausted, "RATE_LIMITED").retry_after(wait);
        }
        let caller = request.extensions().get().cloned().unwrap_or(Caller::Nobody);
        let call = Arc::new(call_of(&caller, &request));
        let (account, record) = operator::refusal();
        match origin::scope(call, log.write(account, record)).await {
            Ok(()) => fault,
            Err(refused) => Fault::unavailable(refused, RETRY_AFTER),
        }
    }

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use diwan_access::Operator;
    use diwan_audit::{Record, Refused};
    use uuid::Uuid;

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicU32);

    #[async_trait::async_trait]
    impl OperatorLog for Counted {
        async fn write(&self, account: Uuid, record: Record) -> Result<(), Refused> {
            assert_eq!((account, &*record.payload.event), (Uuid::nil(), operator::REFUSED));
            assert_eq!(origin::current().actor_name, "curious");
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn each_refusal_is_written_down_and_of_a_flood_no_more_than_may_be() {
        let (log, begun) = (Arc::new(Counted::default()), Instant::now());
        let audited = Audited::new(Some(log.clone()));
        let mut codes = Vec::new();
        for _ in 0..1500 {
            let curious = Operator { name: "curious".into(), token_id: Uuid::nil(), scopes: vec![] };
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(Caller::Operator(curious));
            codes.push(audited.refuse(request, Fault::new(Code::PermissionDenied, "PERMISSION_DENIED")).await.code());
        }
        let written = log.0.load(Ordering::Relaxed);
        let meanwhile = u32::try_from(begun.elapsed().as_millis() / 200).unwrap();
        assert!((1000..=1000 + meanwhile).contains(&written), "{written} and {meanwhile}");
        let denied = codes.iter().filter(|code| **code == Code::PermissionDenied).count();
        assert_eq!((denied, codes[0]), (written as usize, Code::PermissionDenied), "what is denied is written down");
        assert!(codes.iter().all(|code| [Code::PermissionDenied, Code::ResourceExhausted].contains(code)));
    }
}
