//! Where a feed comes from.

use std::future::Future;

use diwan_proto::feed::v1::{Cursor, WatchEventsRequest, WatchEventsResponse, feed_service_client::FeedServiceClient};
use tonic::{
    Status, Streaming,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
};

/// A service whose feed can be followed: a generated client over any transport, local or remote.
pub trait Source: Clone + Send + 'static {
    /// Opens a stream of the events after a cursor.
    ///
    /// # Errors
    /// What the service answers; CURSOR_GONE can also come later, in the stream.
    fn watch(
        self,
        after: Option<Cursor>,
    ) -> impl Future<Output = Result<Streaming<WatchEventsResponse>, Status>> + Send;
}

impl<T> Source for FeedServiceClient<T>
where
    T: GrpcService<Body> + Clone + Send + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    async fn watch(mut self, after: Option<Cursor>) -> Result<Streaming<WatchEventsResponse>, Status> {
        Ok(self.watch_events(WatchEventsRequest { after, ..WatchEventsRequest::default() }).await?.into_inner())
    }
}
