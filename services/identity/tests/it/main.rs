//! Identity over a real PostgreSQL, called through its real methods with real tokens; billing and team are fakes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod account_data;
mod alerts;
mod audit;
mod audit_log;
mod challenge_codes;
mod closings;
mod cloud_api;
mod credentials;
mod deletions;
mod devices;
mod enrolment;
mod exports;
mod factor_recovery;
mod fakes;
mod grave_acts;
mod house;
mod invitations;
mod mail;
mod open_invitations;
mod operators;
mod ownership;
mod phones;
mod principals;
mod profiles;
mod replaced_exports;
mod roles;
mod second_factor;
mod second_factor_policy;
mod secrets;
mod sessions;
mod settings;
mod sign_in;
mod sign_up;
mod signing_keys;
mod standing;
mod throttle;
mod users;
mod whatsapp;
