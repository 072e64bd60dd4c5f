//! What a client and a service see of one another, in one process and over TCP.

mod callers;
mod context;
mod deadlines;
mod draining;
mod failures;
mod support;
