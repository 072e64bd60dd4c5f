//! The service against a real PostgreSQL, through its methods.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "clippy knows only the test functions themselves")]

mod account_data;
mod acts;
mod archive;
mod automatic_replies;
mod boards;
mod bot_bounds;
mod bot_calls;
mod bots;
mod checker;
mod decisions;
mod fakes;
mod groups;
mod handling;
mod hours;
mod large;
mod leads;
mod lock_order;
mod mail;
mod menus;
mod notes;
mod overtaken;
mod path;
mod presence;
mod reassigning;
mod replicas;
mod returning;
mod rivals;
mod routing;
mod rules;
mod schema;
mod sessions;
mod sight;
mod simulation_bounds;
mod simulations;
mod snooze;
mod support;
mod topics;
mod unanswered;
mod waiting;
