//! The whole path once: a customer's mail reaches the right agent, his answer reaches the customer. Everything goes
//! through the gateway as a client would call it, and through mail servers as a customer would.

mod cast;
mod correspondence;
mod leaving;
mod letters;
mod routing;

use std::net::SocketAddr;

use diwan_mailhost::MailHost;

use crate::{
    door::Door,
    report::{Report, StepFailed},
};

/// The most conversations that Support gives one agent at a time.
const LIMIT: usize = 3;
/// The address that customers write to.
const SHARED: &str = "support@diwan.example";

/// Tells the story on the installation behind `gateway`, whose invitations leave through `mail`.
///
/// # Errors
/// The step that failed, and why.
pub async fn tell(gateway: SocketAddr, mail: &MailHost, report: &mut Report) -> Result<(), StepFailed> {
    let door = report.step("the gateway opens", Door::open(gateway)).await?;
    let mut cast = cast::assemble(&door, mail, report).await?;
    let mut day = routing::mails_arrive(&mut cast, mail, report).await?;
    correspondence::answer_and_answer_again(&mut cast, &mut day, mail, report).await?;
    routing::closing_makes_room(&mut cast, &mut day, report).await?;
    leaving::an_agent_is_deactivated(&mut cast, report).await
}
