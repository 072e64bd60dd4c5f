//! Sending one command and reading its whole answer.

use tokio::time::Instant;

use super::Session;
use crate::{
    command::{Command, Then},
    error::Kind,
    response::{Data, Response, Status},
    status::Answer,
};

/// What ends a stretch of untagged data.
pub(super) enum Turn {
    /// The server waits for more of the command.
    GoOn,
    /// The tagged answer.
    Done(Status, Answer),
}

impl Session {
    /// Runs a command to its tagged OK. Untagged data goes to `take` first, which hands back what is not for it.
    pub(super) async fn exchange(
        &mut self,
        command: Command<'_>,
        take: impl FnMut(Data) -> Option<Data>,
    ) -> Result<Answer, Kind> {
        let allowance = self.limits.max_line;
        self.exchange_within(allowance, command, take).await
    }

    /// The same, keeping at most `allowance` bytes of literals.
    pub(super) async fn exchange_within(
        &mut self,
        allowance: usize,
        command: Command<'_>,
        mut take: impl FnMut(Data) -> Option<Data>,
    ) -> Result<Answer, Kind> {
        let tag = self.begin(command.name, allowance)?;
        let mut line = tag.clone().into_bytes();
        line.push(b' ');
        for (text, then) in command.into_pieces() {
            line.extend_from_slice(&text);
            line.extend_from_slice(b"\r\n");
            self.send(&zeroize::Zeroizing::new(std::mem::take(&mut line))).await?;
            let literal = match &then {
                Then::End => break,
                Then::Literal(bytes) => bytes.as_slice(),
                Then::Message(bytes) => bytes,
            };
            match self.turn(&tag, &mut take).await? {
                Turn::GoOn => self.send(literal).await?,
                Turn::Done(Status::Ok, _) => return Err(Kind::Garbage("success before the command was complete")),
                Turn::Done(status, answer) => return self.conclude(status, answer),
            }
        }
        self.finish(&tag, take).await
    }

    /// Marks the session as busy and gives the command its tag.
    pub(super) fn begin(&mut self, name: &'static str, allowance: usize) -> Result<String, Kind> {
        self.require_usable()?;
        self.in_flight = Some(name);
        self.restart_clock();
        self.wire.decoder.allow(allowance);
        self.last_tag += 1;
        Ok(format!("D{}", self.last_tag))
    }

    /// From now on the command has [`crate::Limits::command`] to be answered.
    pub(super) fn restart_clock(&mut self) {
        self.deadline = Instant::now() + self.limits.command;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Kind> {
        self.wire.send(bytes, self.limits.silence).await
    }

    /// The next response.
    pub(super) async fn receive(&mut self) -> Result<Response, Kind> {
        Response::parse(&self.wire.frame(self.limits.silence, self.deadline).await?)
    }

    /// Reads until it is our turn again.
    pub(super) async fn turn(&mut self, tag: &str, take: &mut impl FnMut(Data) -> Option<Data>) -> Result<Turn, Kind> {
        loop {
            match self.receive().await? {
                Response::Untagged(data) => self.untagged(data, take)?,
                Response::Continue => return Ok(Turn::GoOn),
                Response::Tagged(of, status, answer) if of == tag.as_bytes() => return Ok(Turn::Done(status, answer)),
                Response::Tagged(..) => return Err(Kind::Garbage("the answer to another command")),
            }
        }
    }

    /// Reads up to the tagged answer.
    pub(super) async fn finish(
        &mut self,
        tag: &str,
        mut take: impl FnMut(Data) -> Option<Data>,
    ) -> Result<Answer, Kind> {
        match self.turn(tag, &mut take).await? {
            Turn::Done(status, answer) => self.conclude(status, answer),
            Turn::GoOn => Err(Kind::Garbage("a continuation that nothing asked for")),
        }
    }

    /// Takes note of the tagged answer: from here on the next command may run.
    pub(super) fn conclude(&mut self, status: Status, answer: Answer) -> Result<Answer, Kind> {
        self.in_flight = None;
        match status {
            Status::Ok => {
                self.note_capabilities(&answer);
                Ok(answer)
            }
            Status::No => Err(Kind::No(answer)),
            _ => Err(Kind::Bad(answer)),
        }
    }

    pub(super) fn untagged(&mut self, data: Data, take: &mut impl FnMut(Data) -> Option<Data>) -> Result<(), Kind> {
        self.note(&data);
        match take(data) {
            Some(data) => self.keep(data),
            None => Ok(()),
        }
    }
}
