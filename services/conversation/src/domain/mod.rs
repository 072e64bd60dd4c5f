//! Rules without a database or a network: who gets what, who sees what, how an answer is addressed.

pub mod automatic_reply;
pub mod contact;
pub mod expected_wait;
pub mod explanation;
pub mod give_back;
pub mod ledger;
pub mod menu;
pub mod routing;
pub mod rules;
pub mod scope;
pub mod simulation;
pub mod state;
pub mod text;
pub mod thread;
pub mod turns;
pub mod unanswered;
pub mod view;

#[cfg(test)]
mod model_tests;
