//! The suite service.
