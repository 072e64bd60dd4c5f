//! What is said to prove who one is (RFC 4422).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::endpoint::{Endpoint, Secret};

/// One way to authenticate, ready to be said.
pub(crate) struct Mechanism {
    pub(crate) name: &'static str,
    /// In base64, as it is sent.
    pub(crate) initial: Zeroizing<String>,
    /// What to answer when the server explains a refusal, so that it goes on to the tagged NO.
    pub(crate) concede: &'static str,
}

impl Mechanism {
    /// RFC 4616.
    pub(crate) fn plain(user: &str, password: &Secret) -> Self {
        let message = Zeroizing::new(format!("\0{user}\0{}", password.expose()));
        Self { name: "PLAIN", initial: base64(&message), concede: "*" }
    }

    /// Google's and Microsoft's forerunner of OAUTHBEARER.
    pub(crate) fn xoauth2(user: &str, token: &Secret) -> Self {
        let message = Zeroizing::new(format!("user={user}\x01auth=Bearer {}\x01\x01", token.expose()));
        Self { name: "XOAUTH2", initial: base64(&message), concede: "" }
    }

    /// RFC 7628, section 3.1.
    pub(crate) fn oauthbearer(user: &str, token: &Secret, endpoint: &Endpoint) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let Endpoint { host, port, .. } = endpoint;
        let message = Zeroizing::new(format!(
            "n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {}\x01\x01",
            token.expose()
        ));
        Self { name: "OAUTHBEARER", initial: base64(&message), concede: "AQ==" }
    }
}

fn base64(message: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(message))
}
