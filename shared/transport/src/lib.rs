//! Servers and typed clients, local or remote.
