//! What a call tells of the machine that it came from.

use std::net::IpAddr;

use diwan_transport::{CLIENT_ADDRESS, Peer};
use tonic::Request;

/// So much of what a client calls itself is kept.
const LONGEST_NAME: usize = 256;

/// Where a call came from.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The IP address, as the gateway tells, or of whoever calls past it; `None` for calls from within the process.
    pub address: Option<IpAddr>,
    /// What the client calls itself, without control characters; empty if it does not.
    pub user_agent: String,
}

impl Client {
    /// By a call. What is left of the gateway's word here is the gateway's: without it the connection tells, so that nobody is without an
    /// address to be slowed down by who calls this port himself.
    pub fn of<M>(request: &Request<M>) -> Self {
        let text = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let user_agent = text("user-agent").unwrap_or_default();
        let told = text(CLIENT_ADDRESS).and_then(|address| address.parse().ok());
        Self {
            address: told.or_else(|| request.extensions().get().map(|Peer(peer)| peer.ip().to_canonical())),
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect(),
        }
    }
}
