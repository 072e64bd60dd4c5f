//! Calls that are repeated under the same request id until their outcome is known.

use std::time::{Duration, Instant};

use diwan_e2e::Failure;
use rand::{RngExt as _, rngs::StdRng};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::{
    person::{Person, Robot},
    stage::Stage,
};

/// How long one try may take.
const TRY: Duration = Duration::from_mins(1);
/// How long somebody goes on trying: replicas and database are never away for so long.
const PATIENCE: Duration = Duration::from_mins(4);

/// Who calls.
#[derive(Clone, Copy)]
pub(crate) enum As<'a> {
    /// A user.
    Person(&'a Person),
    /// The external bot.
    Robot(&'a Robot),
    /// The mailbox service.
    Mailbox,
    /// An operator with this token.
    Operator(&'a str),
}

/// Where a call goes.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Any replica of the conversation service, another one at each try.
    Replica(usize),
    /// The gateway.
    Gateway,
}

impl At {
    /// A random replica to begin with.
    pub(crate) fn replica(random: &mut StdRng) -> Self {
        Self::Replica(random.random_range(0..1024))
    }
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// With an answer.
    Answered(T),
    /// With this reason.
    Refused(String),
}

impl Stage {
    /// Calls until the outcome is known.
    pub(crate) async fn call<M, T, F, R>(&self, who: As<'_>, at: At, message: &M, call: F) -> Result<Ended<T>, Failure>
    where
        M: Clone,
        F: Fn(Channel, Request<M>) -> R,
        R: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let (mut unknown, mut late) = (false, false);
        for turn in 0_usize.. {
            let (token, request) = self.request(who, message.clone()).await?;
            let channel = match at {
                At::Replica(first) => self.replicas[(first + turn) % self.replicas.len()].clone(),
                At::Gateway => self.gateway.clone(),
            };
            let Ok(answer) = timeout(TRY, call(channel, request)).await else {
                (unknown, late) = (true, true);
                self.tally.repeated("no answer for a minute".into());
                continue;
            };
            let status = match answer {
                Ok(answer) => return Ok(Ended::Answered(answer.into_inner())),
                Err(status) => status,
            };
            match (status.code(), who) {
                (Code::Unauthenticated, As::Person(person)) => {
                    if !unknown && person.again(&token).await.is_err() {
                        return Ok(Ended::Refused("UNAUTHENTICATED".into()));
                    }
                    let _ = person.again(&token).await;
                }
                (code, _) if is_refusal(code) => {
                    self.book.told().uncertain += usize::from(late);
                    return Ok(Ended::Refused(reason(&status)));
                }
                _ => unknown = true,
            }
            self.tally.repeated(format!("{:?} {}", status.code(), reason(&status)));
            if begun.elapsed() > PATIENCE {
                return Err(format!("no outcome within {PATIENCE:?}: {status}").into());
            }
            sleep(Duration::from_millis(20 << turn.min(4))).await;
        }
        Err("a call without an end".into())
    }

    async fn request<M>(&self, who: As<'_>, message: M) -> Result<(String, Request<M>), Failure> {
        let mut request = Request::new(message);
        let token = match who {
            As::Person(person) => person.token().await,
            As::Robot(robot) => robot.token().await,
            As::Mailbox => self.mailbox.service_token("conversation")?.to_str()?.to_owned(),
            As::Operator(token) => token.to_owned(),
        };
        match who {
            As::Mailbox => request.metadata_mut().insert("diwan-service-token", token.parse()?),
            _ => request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?),
        };
        Ok((token, request))
    }
}

/// Whether the service has decided: the same call would be refused again, or has changed nothing.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::FailedPrecondition
            | Code::NotFound
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
    )
}

/// Diwan's reason, or what the transport says.
pub(crate) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details.error_info().map_or_else(|| status.message().chars().take(60).collect(), |info| info.reason.clone())
}
