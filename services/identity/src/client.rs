//! What a call tells of the machine that it came from.

use std::net::IpAddr;

use diwan_transport::CLIENT_ADDRESS;
use tonic::metadata::MetadataMap;

/// So much of what a client calls itself is kept.
const LONGEST_NAME: usize = 256;

/// Where a call came from.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The IP address, as the gateway tells; `None` for calls that did not come through it.
    pub address: Option<IpAddr>,
    /// What the client calls itself, without control characters; empty if it does not.
    pub user_agent: String,
}

impl Client {
    /// By the metadata of a call.
    pub fn of(metadata: &MetadataMap) -> Self {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        let user_agent = text("user-agent").unwrap_or_default();
        Self {
            address: text(CLIENT_ADDRESS).and_then(|address| address.parse().ok()),
            user_agent: user_agent.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect(),
        }
    }
}
