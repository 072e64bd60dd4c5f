//! How the parts of Diwan reach one another: servers, and clients that cannot tell a local service from a remote one.
//!
//! A service's methods are gathered in [`Methods`] and become a [`Front`]: the one way in, which continues the trace,
//! keeps the deadline, chooses the language and admits the caller. A `Front` is served over TCP by [`serve`] and called
//! in the same process through a [`Transport`]; generated clients take a `Transport` either way.

mod audited;
mod channel;
mod client;
mod connection;
pub mod context;
mod cut;
mod deadline;
mod exchange;
mod forwarded;
mod front;
mod jwks;
mod methods;
mod network;
mod preread;
mod refusals;
mod server;
mod tls;
mod trace;
mod web;

pub use client::Transport;
pub use front::{BoxError, Front, GrpcService};
pub use methods::{Methods, with_reflection};
pub use network::{LocalSlot, Network, NetworkError, SERVICES};
pub use server::{Peer, ServeError, bind, serve};
pub use tls::{Tls, TlsError};
pub use web::{NoOrigins, Origins};

/// The header of an answer that names the service which let the caller in and answered him. A refusal at the door has none.
pub const ANSWERED_BY: &str = "diwan-answered-by";

/// The header in which the gateway tells services a client's IP address. It refuses a client who puts something there himself, and a
/// service takes away what anybody but the gateway puts there.
pub const CLIENT_ADDRESS: &str = "diwan-client-address";
