//! Streams whose caller loses his access while they are open.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use diwan_access::Cut;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

/// A response body that ends with a refusal when its caller's access is cut. What was on its way is dropped: he may not see it any
/// more.
pub(crate) struct Revocable {
    body: Body,
    cut: Cut,
    over: bool,
}

impl Revocable {
    pub(crate) fn new(body: Body, cut: Cut) -> Self {
        Self { body, cut, over: false }
    }
}

impl HttpBody for Revocable {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(fault) = self.cut.as_mut().poll(cx) else { return Pin::new(&mut self.body).poll_frame(cx) };
        self.over = true;
        // What produces the stream learns at once that nobody listens.
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(Status::from(fault).add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
