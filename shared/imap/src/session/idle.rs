//! Waiting for the server to speak (RFC 2177).

use std::{pin::pin, time::Duration};

use tokio::time::Instant;

use super::{Session, Unsolicited, exchange::Turn};
use crate::{
    error::{Error, Kind, Step},
    response::{Response, Status},
};

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Idle {
    /// Something was said, now or since the last time somebody looked. Never empty.
    Changed(Vec<Unsolicited>),
    /// Nothing happened in the given time.
    TimedOut,
    /// The caller ended it.
    Stopped,
}

/// Servers may hang up after half an hour of silence (RFC 2177).
const LONGEST: Duration = Duration::from_mins(29);

impl Session {
    /// IDLE: waits until the server tells of a change, at most `until` (and 29 minutes), or until `stop` is ready. The
    /// session is usable afterwards, unless there was an error.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where the server does not offer it: then poll with [`Self::noop`].
    pub async fn idle(&mut self, until: Duration, stop: impl Future<Output = ()>) -> Result<Idle, Error> {
        self.wait(until, stop).await.map_err(Error::at(Step::Command("IDLE")))
    }

    async fn wait(&mut self, until: Duration, stop: impl Future<Output = ()>) -> Result<Idle, Kind> {
        self.require_selected()?;
        if !self.offers("IDLE") {
            return Err(Kind::Unsupported("IDLE"));
        }
        if !self.unsolicited.is_empty() {
            return Ok(Idle::Changed(self.take_unsolicited()));
        }
        let tag = self.begin("IDLE", self.limits.max_line)?;
        self.send(format!("{tag} IDLE\r\n").as_bytes()).await?;
        match self.turn(&tag, &mut Some).await? {
            Turn::GoOn => {}
            Turn::Done(status, answer) => {
                self.conclude(status, answer)?;
                return Err(Kind::Garbage("an IDLE that ends before it begins"));
            }
        }
        let ended = self.listen(Instant::now() + until.min(LONGEST), stop).await?;
        self.restart_clock();
        self.send(b"DONE\r\n").await?;
        self.finish(&tag, Some).await?;
        // Even after the time is up: what was said meanwhile must not wait for the next call.
        Ok(if self.unsolicited.is_empty() { ended } else { Idle::Changed(self.take_unsolicited()) })
    }

    /// Reads until something is worth telling. A server that ends IDLE by itself breaks the protocol, and a caller
    /// who took that for an ordinary end would ask again without pause.
    async fn listen(&mut self, until: Instant, stop: impl Future<Output = ()>) -> Result<Idle, Kind> {
        let mut stop = pin!(stop);
        while self.unsolicited.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let frame = tokio::select! {
                () = &mut stop => return Ok(Idle::Stopped),
                frame = self.wire.frame(left, until) => frame,
            };
            if let Err(Kind::Timeout) = frame {
                break;
            }
            match Response::parse(&frame?)? {
                Response::Untagged(data) => self.untagged(data, &mut Some)?,
                Response::Tagged(_, Status::Ok, _) => return Err(Kind::Garbage("the end of IDLE without DONE")),
                Response::Tagged(_, Status::No, answer) => return Err(Kind::No(answer)),
                Response::Tagged(_, _, answer) => return Err(Kind::Bad(answer)),
                Response::Continue => return Err(Kind::Garbage("a continuation that nothing asked for")),
            }
        }
        Ok(Idle::TimedOut)
    }
}
