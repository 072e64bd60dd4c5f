//! The store against a real PostgreSQL.

mod answers;
mod support;
