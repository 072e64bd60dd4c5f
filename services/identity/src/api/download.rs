//! Writing the archive of an export onto a stream, from any of its bytes on.

use bytes::Bytes;
use diwan_blobs::Blobs;
use diwan_fault::Fault;
use diwan_proto::identity::v1::DownloadExportResponse;
use futures::{SinkExt as _, Stream, channel::mpsc};
use sqlx::PgPool;
use tonic::Status;

use crate::{
    domain::archive,
    error::Error,
    store::{
        export_pieces::{self, File},
        exports::{Ready, Task},
    },
};

/// The most bytes of one message.
const MESSAGE: u64 = 1024 * 1024;
/// How many messages wait for a slow reader.
const AHEAD: usize = 2;
/// How many rows a look finds.
const ROWS: i64 = 200;

/// The archive from `offset` on. It is made as fast as it is read.
pub fn stream(
    pool: PgPool,
    blobs: Blobs,
    task: Task,
    ready: Ready,
    offset: u64,
) -> impl Stream<Item = Result<DownloadExportResponse, Status>> + Send + use<> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // It ends with its reader: then nothing can be sent any more.
    tokio::spawn(async move {
        let mut writer = Writer { pool, blobs, task, skip: offset, written: 0, sender };
        if let Err(Stop::Failed(error)) = writer.write(&ready).await {
            let _ = writer.sender.send(Err(Fault::from(error).into())).await;
        }
    });
    receiver
}

/// Why nothing more is written.
enum Stop {
    /// Nobody reads.
    Unread,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Writer {
    pool: PgPool,
    blobs: Blobs,
    task: Task,
    /// So many bytes the reader has already.
    skip: u64,
    /// So many bytes are behind it, sent or skipped.
    written: u64,
    sender: mpsc::Sender<Result<DownloadExportResponse, Status>>,
}

impl Writer {
    async fn write(&mut self, ready: &Ready) -> Result<(), Stop> {
        let time = u64::try_from(ready.at.as_second()).unwrap_or_default();
        let manifest = Bytes::from(ready.manifest.clone());
        let size = length(manifest.len());
        self.bytes(archive::header("manifest.json", size, time).to_vec().into()).await?;
        self.bytes(manifest).await?;
        self.pad(size).await?;
        let mut after = 0;
        loop {
            let files = export_pieces::files(&mut *self.pool.acquire().await?, self.task, after, ROWS).await?;
            let Some(last) = files.last() else { break };
            after = last.number;
            for file in &files {
                self.file(file, time).await?;
            }
        }
        // Rows of an export that expires or is replaced go one after the other: what is left of them is no smaller archive.
        if self.written + length(archive::END.len()) != u64::try_from(ready.size).unwrap_or_default() {
            return Err(Error::ExportNotFound.into());
        }
        self.bytes(Bytes::from_static(&archive::END)).await
    }

    async fn file(&mut self, file: &File, time: u64) -> Result<(), Stop> {
        let bytes = u64::try_from(file.bytes).unwrap_or_default();
        if self.skips(archive::entry(bytes)) {
            return Ok(());
        }
        self.bytes(archive::header(&file.path, bytes, time).to_vec().into()).await?;
        let (mut left, mut next) = (bytes, file.number);
        while left > 0 {
            let pieces = export_pieces::pieces(&mut *self.pool.acquire().await?, self.task, next, ROWS).await?;
            if pieces.is_empty() {
                // It was let go meanwhile.
                return Err(Error::ExportNotFound.into());
            }
            for piece in pieces {
                let size = u64::try_from(piece.length).unwrap_or_default();
                if left == 0 {
                    break;
                }
                next = piece.number + 1;
                left = left.saturating_sub(size);
                self.piece(&piece.blob, u64::try_from(piece.start).unwrap_or_default(), size).await?;
            }
        }
        self.pad(bytes).await
    }

    async fn piece(&mut self, blob: &str, start: u64, size: u64) -> Result<(), Stop> {
        if self.skips(size) {
            return Ok(());
        }
        let (mut from, end) = (start + self.skip, start + size);
        self.written += self.skip;
        self.skip = 0;
        while from < end {
            let to = end.min(from + MESSAGE);
            let content = match self.blobs.slice(blob, from..to).await {
                Err(error) if error.is_missing() => return Err(Error::ExportNotFound.into()),
                content => content.map_err(Error::Blob)?,
            };
            if length(content.len()) != to - from {
                return Err(Error::Unreadable("blob of an export").into());
            }
            self.bytes(content).await?;
            from = to;
        }
        Ok(())
    }

    async fn pad(&mut self, bytes: u64) -> Result<(), Stop> {
        let zeros = usize::try_from(archive::padding(bytes)).unwrap_or_default();
        self.bytes(Bytes::from_static(&archive::END).slice(..zeros)).await
    }

    /// Whether the reader has these next bytes already: then they are not even read.
    fn skips(&mut self, bytes: u64) -> bool {
        let has = bytes <= self.skip;
        if has {
            self.skip -= bytes;
            self.written += bytes;
        }
        has
    }

    /// Sends at most [`MESSAGE`] bytes, without those that the reader has.
    async fn bytes(&mut self, content: Bytes) -> Result<(), Stop> {
        if self.skips(length(content.len())) {
            return Ok(());
        }
        self.written += length(content.len());
        let content = content.slice(usize::try_from(self.skip).unwrap_or_default()..);
        self.skip = 0;
        let message = DownloadExportResponse { content: content.into() };
        self.sender.send(Ok(message)).await.map_err(|_| Stop::Unread)
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
