//! The conversation service.
