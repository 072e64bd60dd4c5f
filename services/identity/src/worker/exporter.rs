//! Gathers exports, and deletes those that have expired or were replaced.
//!
//! Every service gives its pages one after the other; each is stored as a blob first, then as rows in the transaction that moves the
//! cursor. So each page is in the export exactly once, whenever a process dies: a page without its rows is asked for again. Whoever adds
//! rows holds the export's row and sees that the cursor is where his page began: of two workers that have one export, because the lease
//! of the first ran out, one adds nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use diwan_blobs::Blobs;
use diwan_launch::Context;
use diwan_proto::export::v1::{
    ListAccountDataRequest, ListAccountDataResponse, account_data_service_client::AccountDataServiceClient,
};
use diwan_runtime::{
    clock::{after, between},
    worker::{chain, supervise},
};
use diwan_transport::Transport;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    data::EXPORTS,
    domain::archive,
    effects::Effects,
    error::Error,
    store::{
        export_pieces::{self, Page, Piece},
        exports::{self, Part, Ready, Task},
        jobs::{Effect, Job},
    },
};

/// Rung when an export was begun or let go.
pub const BELL: &str = "exports";
/// What is asked for its part, in this order.
pub const SERVICES: [&str; 5] = ["identity", "team", "billing", "conversation", "mailbox"];
/// The longest rest, for what a lost wake-up missed, and for exports that expire.
const REST: Duration = Duration::from_mins(1);
const SHORTEST_REST: Duration = Duration::from_millis(10);
/// The longest that a page may take.
const LIMIT: Duration = Duration::from_secs(30);
/// A page has 1 MiB or one row: a message of 16 MiB, of which JSON may make six times as much.
const LARGEST_PAGE: usize = 128 * 1024 * 1024;
/// Longer than a page takes. An export whose worker died goes on after it.
const LEASE: Duration = Duration::from_secs(45);
/// When a service is out of reach.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// After so many pages another export has its turn.
const PAGES: usize = 50;
/// How many rows of an export that is gone one transaction deletes.
const CHUNK: i64 = 1000;

/// Starts the worker.
pub fn start(context: &Context, effects: Effects, blobs: Blobs, kept: Duration) {
    let source = |service: &'static str| {
        let client = AccountDataServiceClient::new(context.network.to(service).signed(&context.signer).within(LIMIT));
        (service.to_owned(), client.max_decoding_message_size(LARGEST_PAGE))
    };
    let sources = SERVICES.into_iter().map(source).collect();
    let exporter = Arc::new(Exporter { effects, blobs, kept, sources });
    supervise(&context.drain, "exporter", move || {
        let exporter = exporter.clone();
        async move { exporter.run().await }
    });
}

struct Exporter {
    effects: Effects,
    blobs: Blobs,
    /// How long an export can be downloaded.
    kept: Duration,
    sources: HashMap<String, AccountDataServiceClient<Transport>>,
}

/// What became of one step.
#[derive(PartialEq)]
enum Step {
    /// A page is there.
    More,
    /// Nothing more is to be done for it.
    Over,
}

impl Exporter {
    async fn run(&self) -> Result<(), Error> {
        let mut woken = self.effects.database.wake().subscribe(BELL);
        loop {
            let now = self.effects.clock.now();
            let mut connection = self.effects.database.pool().acquire().await?;
            let task = exports::claim(&mut connection, now, after(now, LEASE)).await?;
            let due = exports::next_due(&mut connection).await?;
            drop(connection);
            let Some(task) = task else {
                let rest = due.map_or(REST, |due| between(now, due).clamp(SHORTEST_REST, REST));
                tokio::select! {
                    _ = woken.within(REST) => {}
                    () = self.effects.clock.sleep(rest) => {}
                }
                continue;
            };
            self.work(task).await?;
        }
    }

    /// One turn. Whatever one export stumbles over, the others go on.
    async fn work(&self, task: Task) -> Result<(), Error> {
        let outcome = if task.gone { self.delete(task).await } else { self.gather(task).await };
        let now = self.effects.clock.now();
        let again = match outcome {
            Ok(Step::Over) => return Ok(()),
            Ok(Step::More) => now,
            Err(error) => {
                tracing::warn!(account = %task.account, error = chain(&error), "an export is gone on with later");
                after(now, TRY_AGAIN)
            }
        };
        exports::postpone(&mut *self.effects.database.pool().acquire().await?, task, again).await
    }

    async fn gather(&self, task: Task) -> Result<Step, Error> {
        for _ in 0..PAGES {
            if self.step(task).await? == Step::Over {
                return Ok(Step::Over);
            }
        }
        Ok(Step::More)
    }

    async fn step(&self, task: Task) -> Result<Step, Error> {
        let mut connection = self.effects.database.pool().acquire().await?;
        let part = exports::open_part(&mut connection, task).await?;
        drop(connection);
        let Some(part) = part else { return self.finish(task).await };
        let page = self.page(task, &part).await?;
        let lease = after(self.effects.clock.now(), LEASE);
        let is_added = self.effects.database.transaction("gather export", async |tx: &mut PgConnection| {
            let Some(count) = exports::lock_gathering(tx, task).await? else { return Ok(false) };
            let open = exports::open_part(tx, task).await?;
            let is_where_it_was =
                open.is_some_and(|open| (open.position, &open.cursor) == (part.position, &part.cursor));
            if is_where_it_was {
                export_pieces::append(tx, task, &part, &page, (count, lease)).await?;
            }
            Ok::<_, Error>(is_where_it_was)
        });
        if is_added.await? {
            return Ok(Step::More);
        }
        self.drop_if_gone(task).await
    }

    /// The next page of a part, stored.
    async fn page(&self, task: Task, part: &Part) -> Result<Page, Error> {
        let mut source = self.sources.get(&part.service).cloned().ok_or(Error::Unreadable("service of an export"))?;
        let request = ListAccountDataRequest {
            account_id: task.account.to_string(),
            after: part.cursor.clone().unwrap_or_default(),
        };
        let answer = source.list_account_data(request).await.map_err(|status| Error::of_peer("export", status))?;
        let ListAccountDataResponse { pieces: given, next } = answer.into_inner();
        let (mut pieces, mut content) = (Vec::with_capacity(given.len()), Vec::new());
        for piece in given {
            let place = |number: usize| i64::try_from(number).map_err(|_| Error::Unreadable("length of an export"));
            pieces.push(Piece {
                path: path(&part.service, &piece.file).ok_or(Error::Unreadable("file of an export"))?,
                start: place(content.len())?,
                length: place(piece.content.len())?,
                rows: piece.rows,
            });
            content.extend_from_slice(&piece.content);
        }
        let blob = self.place(task).put(Bytes::from(content)).await.map_err(Error::Blob)?;
        Ok(Page { blob, pieces, next: Some(next).filter(|next| !next.is_empty()) })
    }

    fn place(&self, task: Task) -> Blobs {
        place(&self.blobs, task.account, task.export)
    }

    /// Makes an export ready of which all parts are there, and tells the owner.
    async fn finish(&self, task: Task) -> Result<Step, Error> {
        let now = self.effects.clock.now();
        let tell = Job::new(task.account, Effect::SendExportReady { export_id: task.export });
        let is_finished = self.effects.database.transaction("finish export", async |tx: &mut PgConnection| {
            if exports::lock_gathering(tx, task).await?.is_none() {
                return Ok(false);
            }
            let kinds = exports::kinds(tx, task).await?;
            let manifest = manifest(task, &kinds, now);
            let first = i64::try_from(archive::entry(manifest.len() as u64)).unwrap_or_default();
            let end = i64::try_from(archive::END.len()).unwrap_or_default();
            let size = first + kinds.iter().map(|kind| kind.archived).sum::<i64>() + end;
            let ready = Ready { manifest, size, at: now, expires_at: after(now, self.kept) };
            exports::make_ready(tx, task, &ready).await?;
            self.effects.leave(tx, &tell).await?;
            Ok::<_, Error>(true)
        });
        if !is_finished.await? {
            return self.drop_if_gone(task).await;
        }
        self.effects.wake();
        Ok(Step::Over)
    }

    /// Gives an export that is gone to whoever deletes it. If that was done before, because the lease ran out, this worker's last blob
    /// came after it.
    async fn drop_if_gone(&self, task: Task) -> Result<Step, Error> {
        let mut connection = self.effects.database.pool().acquire().await?;
        let export = exports::find(&mut connection, task.account).await?;
        if export.is_none_or(|export| export.id != task.export) {
            self.place(task).clear().await.map_err(Error::Blob)?;
            exports::postpone(&mut connection, task, self.effects.clock.now()).await?;
        }
        Ok(Step::Over)
    }

    /// First the blobs, then the rows that name the export. It is claimed when no worker gathers it any more: nobody puts a blob behind
    /// this one's back and dies before he has taken it away.
    async fn delete(&self, task: Task) -> Result<Step, Error> {
        self.place(task).clear().await.map_err(Error::Blob)?;
        loop {
            let lease = after(self.effects.clock.now(), LEASE);
            let done = self.effects.database.transaction("delete export", async |tx: &mut PgConnection| {
                exports::postpone(tx, task, lease).await?;
                export_pieces::delete_some(tx, task, CHUNK).await
            });
            if done.await? {
                return Ok(Step::Over);
            }
        }
    }
}

/// Where the blobs of an export are.
pub fn place(blobs: &Blobs, account: Uuid, export: Uuid) -> Blobs {
    blobs.of(EXPORTS).of(&account.to_string()).of(&export.to_string())
}

/// Where a service's file lies in the archive, if it has a name that may be unpacked anywhere.
fn path(service: &str, file: &str) -> Option<String> {
    let is_name = |part: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(known)
    };
    let fits = file.len() <= 80 && file.split('/').count() <= 2 && file.split('/').all(is_name);
    fits.then(|| format!("{service}/{file}"))
}

fn manifest(task: Task, kinds: &[exports::Kind], now: jiff::Timestamp) -> String {
    let contents: Vec<_> = kinds
        .iter()
        .map(|kind| {
            json!({"service": kind.service, "kind": kind.name, "files": kind.files, "rows": kind.rows, "bytes": kind.bytes})
        })
        .collect();
    let manifest = json!({
        "account_id": task.account,
        "export_id": task.export,
        "ready_at": now.to_string(),
        "about": "What Diwan keeps of the account. A .jsonl file has a JSON object a line; passwords, tokens and keys are in none.",
        "contents": contents,
    });
    format!("{manifest:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_so_that_it_can_be_unpacked_anywhere() {
        let id = Uuid::max().to_string();
        assert_eq!(path("mailbox", &format!("mails/{id}.eml")), Some(format!("mailbox/mails/{id}.eml")));
        for file in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/b/c", ".x", "a b", "é", &"x".repeat(81)] {
            assert_eq!(path("team", file), None, "{file}");
        }
    }
}
