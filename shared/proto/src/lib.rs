//! The generated code of every .proto: messages, clients, servers, and the descriptors that reflection and the access
//! rules are read from.

#![allow(missing_docs, reason = "the comments stand in the .proto files; enum helpers get none")]

include!(concat!(env!("OUT_DIR"), "/diwan.rs"));
include!(concat!(env!("OUT_DIR"), "/redacted.rs"));

pub use diwan::{access, audit, billing, common, conversation, export, feed, gateway, identity, mailbox, team};

/// Every .proto with its imports and custom options, an encoded `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

#[cfg(test)]
mod tests {
    use super::identity::v1::SignInRequest;

    #[test]
    fn a_password_does_not_show_in_debug_output() {
        let request =
            SignInRequest { email: "a@example.com".into(), password: "hunter22".into(), ..Default::default() };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("a@example.com") && shown.contains("[redacted]") && !shown.contains("hunter22"),
            "{shown}"
        );
    }
}
