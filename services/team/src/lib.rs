//! The team service.
