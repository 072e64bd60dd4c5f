//! The `grpc-timeout` header, and answers that come too late.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use diwan_fault::{Code, Fault};
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};

const HEADER: &str = "grpc-timeout";

/// When the caller of a request with these headers stops waiting.
///
/// # Errors
/// INVALID_ARGUMENT, reason TIMEOUT_UNREADABLE, for a header that is no Timeout (gRPC over HTTP/2, "Requests") or comes twice:
/// a caller who limits a call and is not understood must not wait, and work must not be done, without a limit.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Instant>, Fault> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str().ok().and_then(parse), values.next()) {
        (Some(timeout), None) => Ok(Instant::now().checked_add(timeout)),
        _ => Err(Fault::new(Code::InvalidArgument, "TIMEOUT_UNREADABLE")),
    }
}

/// Tells the next service how long is left; the time on the wire is not counted.
pub(crate) fn set(headers: &mut HeaderMap, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    // At most eight digits (gRPC over HTTP/2, "Timeout"): milliseconds carry a day, longer ones go in seconds.
    let text = match u32::try_from(left.as_millis()) {
        Ok(millis) if millis < 100_000_000 => format!("{millis}m"),
        _ => format!("{}S", left.as_secs().min(99_999_999)),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HEADER, value);
    }
}

/// What the caller of a late request gets.
pub(crate) fn exceeded() -> Status {
    Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED").into()
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

pin_project! {
    /// A response body that ends with DEADLINE_EXCEEDED when the caller stops waiting: the head of a stream is early.
    pub(crate) struct Limited {
        #[pin]
        body: Body,
        sleep: Pin<Box<Sleep>>,
        over: bool,
    }
}

impl Limited {
    pub(crate) fn new(body: Body, deadline: Instant) -> Self {
        Self { body, sleep: Box::pin(tokio::time::sleep_until(deadline)), over: false }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        // The time first, and by the clock: a stream that always has something ready would never be cut, nor would a timer
        // fire in a task that never rests.
        if Instant::now() < this.sleep.deadline() && this.sleep.as_mut().poll(cx).is_pending() {
            return this.body.poll_frame(cx);
        }
        *this.over = true;
        let mut trailers = HeaderMap::new();
        let added = exceeded().add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_nonsense_is_none() {
        assert_eq!(parse("3H"), Some(Duration::from_hours(3)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for bad in ["", "S", "123456789S", "-1S", "1", "1x", "١S"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut headers = HeaderMap::new();
        set(&mut headers, Instant::now() + Duration::from_secs(30));
        let left = of(&headers).unwrap().unwrap().saturating_duration_since(Instant::now());
        assert!(left > Duration::from_secs(29) && left <= Duration::from_secs(30), "{left:?}");
        set(&mut headers, Instant::now() + Duration::from_secs(10_000_000));
        assert!(headers[HEADER].to_str().unwrap().ends_with('S'));
    }
}
