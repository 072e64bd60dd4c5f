//! How the parts of Diwan reach one another: servers, and clients that cannot tell a local service from a remote one.
//!
//! A service's methods are gathered in [`Methods`] and become a [`Front`]: the one way in, which continues the trace,
//! keeps the deadline, chooses the language and admits the caller. A `Front` is served over TCP by [`serve`] and called
//! in the same process through a [`Transport`]; generated clients take a `Transport` either way.

mod client;
pub mod context;
mod deadline;
mod front;
mod methods;
mod network;
mod server;
mod trace;
mod web;

pub use client::Transport;
pub use front::{BoxError, Front, GrpcService};
pub use methods::{Methods, with_reflection};
pub use network::{LocalSlot, Network, NetworkError, SERVICES};
pub use server::{Peer, ServeError, bind, serve};
pub use web::{NoOrigins, Origins};

/// The header in which the gateway tells services a client's IP address. It takes away what a client puts there itself.
pub const CLIENT_ADDRESS: &str = "diwan-client-address";
