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
use tonic::{Status, body::Body};

type Sending = SendStream<Bytes>;
type Next = Option<Option<Result<Frame<Bytes>, Status>>>;

/// Sends `request` and waits for the head of its answer. Dropping it, or the answer's body, ends the exchange (RST_STREAM).
///
/// # Errors
/// When the connection or the exchange ends before.
pub(crate) async fn exchange(
    mut connection: SendRequest<Bytes>,
    request: Request<Body>,
) -> Result<Response<Answer>, h2::Error> {
    let (parts, body) = request.into_parts();
    let ends = body.is_end_stream();
    let (answer, sending) = connection.send_request(Request::from_parts(parts, ()), ends)?;
    if !ends {
        send(sending, body)?;
    }
    Ok(answer.await?.map(|stream| Answer { stream, ended: false }))
}

/// Sends what is at hand; the rest follows beside the answer.
fn send(mut sending: Sending, mut body: Body) -> Result<(), h2::Error> {
    let mut held = None;
    loop {
        let next = if body.is_end_stream() { Some(None) } else { body.frame().now_or_never() };
        match next {
            Some(None) => return sending.send_data(held.unwrap_or_default(), true),
            Some(Some(Ok(frame))) if frame.is_data() && held.is_none() => held = frame.into_data().ok(),
            next => {
                tokio::spawn(follow(sending, body, held, next));
                return Ok(());
            }
        }
    }
}

/// Sends a request as it comes, no faster than the service takes it, until its end or until the service has no use for it any more.
async fn follow(mut sending: Sending, mut body: Body, held: Option<Bytes>, mut next: Next) {
    if let Some(data) = held
        && send_data(&mut sending, data).await.is_none()
    {
        return;
    }
    loop {
        let frame = if let Some(frame) = next.take() {
            frame
        } else {
            tokio::select! {
                frame = body.frame() => frame,
                _ = poll_fn(|cx| sending.poll_reset(cx)) => return,
            }
        };
        // An error of sending means that the exchange is over; whoever waits for the answer is told.
        let goes_on = match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => send_data(&mut sending, data).await,
            Some(Ok(Err(frame))) => return drop(frame.into_trailers().map(|trailers| sending.send_trailers(trailers))),
            Some(Err(_)) => return sending.send_reset(Reason::CANCEL),
            None => return drop(sending.send_data(Bytes::new(), true)),
        };
        if goes_on.is_none() {
            return;
        }
    }
}

/// Sends `data` as there is room for it; `None`: the exchange is over.
async fn send_data(sending: &mut Sending, mut data: Bytes) -> Option<()> {
    while !data.is_empty() {
        sending.reserve_capacity(data.len());
        let room = poll_fn(|cx| sending.poll_capacity(cx)).await?.ok()?;
        sending.send_data(data.split_to(room.min(data.len())), false).ok()?;
    }
    Some(())
}

/// The body of an answer.
pub(crate) struct Answer {
    stream: RecvStream,
    /// Whether only the trailers may still come.
    ended: bool,
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
