//! One request and its answer over a connection.
//!
//! hyper would give each request a task of its own and two queues; a request that is at hand as a whole needs neither.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::FutureExt as _;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use tokio::task::AbortHandle;
use tonic::{Status, body::Body};

use crate::BoxError;

type Sending = SendStream<Bytes>;
type Next = Option<Option<Result<Frame<Bytes>, Status>>>;

/// A request that HTTP/2 cannot carry: nothing of it was sent.
#[derive(Debug, thiserror::Error)]
#[error("a request that HTTP/2 cannot carry")]
pub(crate) struct Unsendable(#[source] h2::Error);

/// Sends `request` and waits for the head of its answer. Dropping it, or the answer's body, ends the exchange (RST_STREAM).
///
/// # Errors
/// [`Unsendable`], or when the connection or the exchange ends before.
pub(crate) async fn exchange(
    mut connection: SendRequest<Bytes>,
    request: Request<Body>,
) -> Result<Response<Answer>, BoxError> {
    let (parts, body) = request.into_parts();
    let ends = body.is_end_stream();
    let (answer, sending) = connection.send_request(Request::from_parts(parts, ()), ends).map_err(unsent)?;
    let rest = if ends { None } else { send(sending, body)? };
    Ok(answer.await?.map(|stream| Answer { stream, ended: false, _rest: rest }))
}

fn unsent(error: h2::Error) -> BoxError {
    // Neither the other side nor the connection: what is left is the request.
    if error.reason().is_none() && !error.is_io() { Unsendable(error).into() } else { error.into() }
}

/// What sends the rest of a request, for as long as somebody waits for the answer.
struct Rest(AbortHandle);

impl Drop for Rest {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends what is at hand; the rest follows beside the answer.
fn send(mut sending: Sending, mut body: Body) -> Result<Option<Rest>, h2::Error> {
    let mut held = None;
    loop {
        let next = if body.is_end_stream() { Some(None) } else { body.frame().now_or_never() };
        match next {
            Some(None) => return sending.send_data(held.unwrap_or_default(), true).map(|()| None),
            Some(Some(Ok(frame))) if frame.is_data() && held.is_none() => held = frame.into_data().ok(),
            next => {
                let following = tokio::spawn(follow(sending, body, held.unwrap_or_default(), next));
                return Ok(Some(Rest(following.abort_handle())));
            }
        }
    }
}

/// Sends `data` and the rest of a request as it comes, no faster than the service takes it, until its end or until the service has no use
/// for it any more. It looks one piece ahead: whoever breaks off is heard while there is no room for what he sent before.
async fn follow(mut sending: Sending, mut body: Body, mut data: Bytes, mut next: Next) {
    loop {
        // An error of sending means that the exchange is over; whoever waits for the answer is told.
        match next.take_if(|next| data.is_empty() || matches!(next, Some(Err(_)))) {
            Some(Some(Err(_))) => return sending.send_reset(Reason::CANCEL),
            Some(Some(Ok(frame))) if frame.is_data() => data = frame.into_data().unwrap_or_default(),
            // A request of gRPC ends without trailers, and a service that has answered already ends the connection over them.
            Some(Some(Ok(_)) | None) => return drop(sending.send_data(Bytes::new(), true)),
            None => {}
        }
        let wanted = data.len();
        tokio::select! {
            room = poll_fn(|cx| poll_room(&mut sending, wanted, cx)) => {
                let Some(room) = room else { return };
                if sending.send_data(data.split_to(room.min(wanted)), false).is_err() {
                    return;
                }
            }
            frame = body.frame(), if next.is_none() => next = Some(frame),
        }
    }
}

/// Room for `wanted` bytes, or for some of them; `None` when the exchange is over, which is all that is waited for where none is wanted.
fn poll_room(sending: &mut Sending, wanted: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    if wanted == 0 {
        return sending.poll_reset(cx).map(|_| None);
    }
    sending.reserve_capacity(wanted);
    sending.poll_capacity(cx).map(|room| room.and_then(Result::ok))
}

/// The body of an answer.
pub(crate) struct Answer {
    stream: RecvStream,
    /// Whether only the trailers may still come.
    ended: bool,
    _rest: Option<Rest>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        if !this.ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Fails only when more is given back than was taken.
                    let _ = this.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(failure(error)),
                None => this.ended = true,
            }
        }
        Poll::Ready(match ready!(this.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => failure(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

/// A reset with NO_ERROR after a whole answer only says that the rest of the request is not needed (RFC 9113 section 8.1).
fn failure<T>(error: h2::Error) -> Option<Result<T, h2::Error>> {
    (error.reason() != Some(Reason::NO_ERROR)).then_some(Err(error))
}
