//! The messages of a request, by their lengths alone: gRPC puts five bytes before each (gRPC over HTTP/2,
//! "Length-Prefixed-Message": a flag, then the length).

use std::{
    future::Future as _,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, stream};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};
use tonic::{Status, body::Body};

use crate::error::Error;

/// Requests up to that are held, so that they can be sent again.
pub(crate) const HELD: usize = 64 * 1024;
const PREFIX: usize = 5;
/// How long the rest of a request may take: what is held of it is small.
const REST: Duration = Duration::from_secs(10);
/// How long a longer one may take as a whole, a picture over a slow line: meanwhile it has a place in its service.
pub(crate) const LONG: Duration = Duration::from_mins(1);
/// How many requests may be unfinished at a time: 128 MiB at most.
const BEGUN: usize = 2048;

/// What was read of a request.
pub(crate) enum Read {
    /// All of it.
    Whole(Bytes),
    /// More than is held: what was read, and the rest.
    Begun(Body),
}

/// Reads requests; clones share their room.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// The longest message, bytes.
    longest: usize,
    /// How long the rest of one may take.
    rest: Duration,
    /// Those that have begun and not ended.
    begun: Arc<Semaphore>,
}

impl Reader {
    /// Of messages of at most `longest` bytes.
    pub(crate) fn new(longest: usize) -> Self {
        Self { longest, rest: REST, begun: Arc::new(Semaphore::new(BEGUN)) }
    }

    /// The longest message, bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Reads a request that is one message. Who does not send the rest of what he has begun holds memory here, and needs no token for
    /// it: his time is short, and the room for all of them together is bounded.
    ///
    /// # Errors
    /// [`Error::MessageTooLarge`], [`Error::RequestUnfinished`], [`Error::TooManyUnfinished`]; whatever the client's connection says.
    pub(crate) async fn read(&self, body: Body) -> Result<Read, Status> {
        let mut reading = pin!(read(body, self.longest));
        if let Some(read) = reading.as_mut().now_or_never() {
            return read;
        }
        let _room = self.begun.try_acquire().map_err(|_| Error::TooManyUnfinished)?;
        timeout(self.rest, reading).await.map_err(|_| Error::RequestUnfinished(self.rest))?
    }
}

async fn read(mut body: Body, longest: usize) -> Result<Read, Status> {
    let (mut held, mut lengths) = (BytesMut::new(), Lengths::new(longest));
    while let Some(frame) = body.frame().await.transpose()? {
        let Ok(data) = frame.into_data() else { continue };
        lengths.see(&data)?;
        held.extend_from_slice(&data);
        if held.len() > HELD {
            let begun = stream::iter([Ok(Frame::data(held.freeze()))]);
            let rest = BodyStream::new(body);
            return Ok(Read::Begun(Body::new(StreamBody::new(futures::StreamExt::chain(begun, rest)))));
        }
    }
    Ok(Read::Whole(held.freeze()))
}

/// Follows the lengths that a request declares.
#[derive(Debug)]
struct Lengths {
    longest: usize,
    prefix: Vec<u8>,
    left: usize,
}

impl Lengths {
    fn new(longest: usize) -> Self {
        Self { longest, prefix: Vec::with_capacity(PREFIX), left: 0 }
    }

    fn see(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(data.len());
                self.left -= skipped;
                data = &data[skipped..];
                continue;
            }
            let taken = (PREFIX - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..taken]);
            data = &data[taken..];
            if let [_, length @ ..] = self.prefix.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.prefix.clear();
                if self.left > self.longest {
                    return Err(Error::MessageTooLarge(self.longest));
                }
            }
        }
        Ok(())
    }
}

const GOOD: u8 = 0;
const BROKEN: u8 = 1;
const TOO_LARGE: u8 = 2;
const LATE: u8 = 3;

/// What became of a request's body that is passed on as it comes.
#[derive(Debug)]
pub(crate) struct Watch {
    state: Arc<AtomicU8>,
    longest: usize,
    within: Option<Duration>,
}

impl Watch {
    /// Whether it ended in an error of the client's making.
    pub(crate) fn failed(&self) -> bool {
        self.state.load(Ordering::Acquire) != GOOD
    }

    /// Why it was cut off, if it was.
    pub(crate) fn cut_off(&self) -> Option<Error> {
        match self.state.load(Ordering::Acquire) {
            TOO_LARGE => Some(Error::MessageTooLarge(self.longest)),
            LATE => self.within.map(Error::RequestUnfinished),
            _ => None,
        }
    }
}

/// `body` cut off at a message longer than `longest`, and when it is not finished `within` a time.
pub(crate) fn watched(body: Body, longest: usize, within: Option<Duration>) -> (Body, Watch) {
    let state = Arc::new(AtomicU8::new(GOOD));
    let late = within.map(|within| (Box::pin(sleep(within)), within));
    let watched = Watched { body, lengths: Lengths::new(longest), late, state: state.clone() };
    (Body::new(watched), Watch { state, longest, within })
}

struct Watched {
    body: Body,
    lengths: Lengths,
    late: Option<(Pin<Box<Sleep>>, Duration)>,
    state: Arc<AtomicU8>,
}

impl Watched {
    fn late(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        let (late, within) = self.late.as_mut()?;
        late.as_mut().poll(cx).is_ready().then_some(Error::RequestUnfinished(*within))
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(late) = this.late(cx) {
            this.state.store(LATE, Ordering::Release);
            return Poll::Ready(Some(Err(late.into())));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.data_ref().map_or(Ok(()), |data| this.lengths.see(data)) {
                Ok(()) => Some(Ok(frame)),
                Err(error) => {
                    this.state.store(TOO_LARGE, Ordering::Release);
                    Some(Err(error.into()))
                }
            },
            Some(Err(status)) => {
                this.state.store(BROKEN, Ordering::Release);
                Some(Err(status))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.resize(PREFIX + usize::try_from(length).unwrap(), 7);
        bytes
    }

    #[test]
    fn lengths_are_followed_however_the_bytes_are_cut() {
        let bytes = [message(3), message(0), message(10), message(11)].concat();
        for size in 1..bytes.len() {
            let mut lengths = Lengths::new(10);
            let refused = bytes.chunks(size).position(|piece| lengths.see(piece).is_err());
            // Refused by the piece that completes the last prefix, before its message is there.
            let prefix_ends = bytes.len() - 11;
            assert_eq!(refused, Some((prefix_ends - 1) / size), "in pieces of {size}");
        }
    }

    /// A request that says it will be longer, and then nothing.
    fn unfinished() -> Body {
        let begun = stream::iter([Ok::<_, Status>(Frame::data(Bytes::from(message(1000)).slice(..100)))]);
        Body::new(StreamBody::new(futures::StreamExt::chain(begun, stream::pending())))
    }

    fn reader(rest: Duration) -> Reader {
        Reader { longest: 200_000, rest, begun: Arc::new(Semaphore::new(1)) }
    }

    #[tokio::test]
    async fn a_request_that_is_not_finished_is_let_go_and_its_room_is_free_again() {
        let reader = reader(Duration::from_millis(20));
        let read = reader.read(unfinished()).await;
        assert_eq!(read.err().map(|status| status.code()), Some(tonic::Code::DeadlineExceeded));
        assert_eq!(reader.begun.available_permits(), 1);
    }

    #[tokio::test]
    async fn no_more_than_so_many_wait_for_their_ends_and_who_is_at_hand_needs_no_room() {
        let reader = reader(REST);
        let mut waits = pin!(reader.read(unfinished()));
        assert!(waits.as_mut().now_or_never().is_none());
        let refused = reader.read(unfinished()).await;
        assert_eq!(refused.err().map(|status| status.code()), Some(tonic::Code::ResourceExhausted));
        assert!(matches!(reader.read(full(message(100))).await, Ok(Read::Whole(_))));
    }

    #[tokio::test]
    async fn a_long_request_that_goes_on_and_is_not_finished_is_cut_off() {
        let (body, watch) = watched(unfinished(), 200_000, Some(Duration::from_millis(20)));
        let refused = body.collect().await.err().map(|status| status.code());
        assert_eq!(refused, Some(tonic::Code::DeadlineExceeded));
        assert!(watch.failed(), "it says nothing of the service");
        assert_eq!(watch.cut_off(), Some(Error::RequestUnfinished(Duration::from_millis(20))));
    }

    fn full(bytes: Vec<u8>) -> Body {
        Body::new(http_body_util::Full::new(Bytes::from(bytes)))
    }

    #[tokio::test]
    async fn a_short_request_is_held_and_a_long_one_goes_on_whole() {
        assert!(matches!(read(full(message(100)), 200_000).await, Ok(Read::Whole(bytes)) if bytes == message(100)));
        let pieces: Vec<_> = message(200_000).chunks(16_384).map(Bytes::copy_from_slice).collect();
        let frames = stream::iter(pieces.into_iter().map(|piece| Ok::<_, Status>(Frame::data(piece))));
        let Ok(Read::Begun(body)) = read(Body::new(StreamBody::new(frames)), 200_000).await else { panic!("held") };
        assert_eq!(body.collect().await.unwrap().to_bytes(), message(200_000));
    }
}
