//! An IMAP session that never mistakes a failure for an empty answer.
//!
//! What a caller may rely on:
//! - A command succeeds only on its own tagged OK, and only when the data that the answer must carry came with it.
//!   NO, BAD, BYE, garbage, silence and a closed connection are errors that can be told apart ([`Kind`]).
//! - Every UID given to [`Session::fetch`] comes back as exactly one [`Fetched`]: the message, or why there is none.
//!   `Gone` is only said on the word of a successful search that did not list the UID.
//! - A session whose answer was not read to the end, also because the caller dropped the future, refuses the next
//!   command ([`Kind::Poisoned`]): nobody can say any more which bytes belong to which command.
//! - What the server may send is bounded in bytes, lines and time ([`Limits`]). Memory for a literal is taken as its
//!   bytes arrive, never on the word of its announcement.
//! - What the server tells unasked is kept for [`Session::take_unsolicited`], however much comes in between.
//!
//! Why not a ready-made client: async-imap and imap-proto read a stream of responses with one parser, so a response
//! that it cannot parse ends the stream, an announced literal is allocated whole, and the response codes of RFC 5530
//! (wrong password or server in trouble?) are dropped. Here the framing finds the end of each response by
//! itself, and a response that cannot be understood costs one message, not the connection.
//!
//! The protocol is IMAP4rev1 (RFC 3501) with, where offered, SASL-IR (4959), XOAUTH2 and OAUTHBEARER (7628),
//! COMPRESS=DEFLATE (4978), IDLE (2177), SPECIAL-USE (6154), UIDPLUS (4315) and the HIGHESTMODSEQ of CONDSTORE (7162).
//! Messages are handed on as bytes; taking MIME apart is not done here.

mod command;
mod connect;
mod deflate;
mod endpoint;
mod error;
mod fetch_data;
mod folder_name;
mod frame;
mod response;
mod sasl;
mod session;
mod status;
mod uid_set;
mod value;
mod wire;

pub use connect::connect;
pub use endpoint::{Credentials, Endpoint, Limits, Options, Secret, Security, Trust};
pub use error::{Error, Kind, Retry, Step};
pub use folder_name::FolderName;
pub use rustls::pki_types::CertificateDer;
pub use session::{Appended, Fetched, Folder, Idle, Message, Selected, Session, SpecialUse, Unsolicited};
pub use status::{Answer, Code};
