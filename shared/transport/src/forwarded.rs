//! What only the gateway may say of a request, and how a service knows that the gateway says it.
//!
//! Over TCP anybody could claim a client's address. It is believed of a peer whose certificate bears the gateway's name, or next
//! to the gateway's own token; otherwise it is taken away before anybody reads it. In one process the gateway itself calls.
//!
//! At the gateway's own door nobody may say anything of what services say to one another: who does is refused.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_access::Admission;
use diwan_fault::{Code, Fault};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{CLIENT_ADDRESS, tls::Certified};

/// The gateway's own token for the service that it forwards to.
pub(crate) const GATEWAY_TOKEN: HeaderName = HeaderName::from_static("diwan-gateway-token");
const GATEWAY: &str = "gateway";
/// A proved token is not proved anew for so long: it may be believed so much longer than it is good.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Where the names of headers begin that are ours: a service's token, the gateway's word on a client, and whatever comes to be.
const OURS: [&str; 2] = ["diwan-", "x-diwan-"];

/// Whether only the inside says it.
pub(crate) fn is_inner(name: &HeaderName) -> bool {
    OURS.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// Refuses a call from outside that says what only the inside says: no client does so by chance, and whoever forges must not be
/// answered as if he had not.
///
/// # Errors
/// UNAUTHENTICATED, reason INTERNAL_METADATA, with the name of the header.
pub(crate) fn from_outside(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(inner) = headers.keys().find(|name| is_inner(name)) else { return Ok(()) };
    tracing::debug!(header = %inner, "internal metadata from outside was refused");
    Err(Fault::new(Code::Unauthenticated, "INTERNAL_METADATA").with("header", inner.as_str()))
}

/// The last token that was proved to be the gateway's. The gateway changes it twice a minute, so that one is enough.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proved(Arc<Mutex<Option<(HeaderValue, Instant)>>>);

impl Proved {
    /// Takes away what the peer may not say.
    pub(crate) fn believe_only_the_gateway(
        &self,
        headers: &mut HeaderMap,
        certified: Option<&Certified>,
        admission: &Admission,
        service: &str,
    ) {
        let token = headers.remove(GATEWAY_TOKEN);
        if !headers.contains_key(CLIENT_ADDRESS) {
            return;
        }
        let believed = match certified {
            Some(certified) => certified.bears(GATEWAY),
            None => token.is_some_and(|token| self.is_good(&token, admission, service)),
        };
        if !believed {
            headers.remove(CLIENT_ADDRESS);
        }
    }

    fn is_good(&self, token: &HeaderValue, admission: &Admission, service: &str) -> bool {
        let now = Instant::now();
        {
            let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.as_ref().is_some_and(|(known, until)| known == token && now < *until) {
                return true;
            }
        }
        let good = admission.service_of(token, service).is_ok_and(|issuer| issuer == GATEWAY);
        if good {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((token.clone(), now + REMEMBERED));
        }
        good
    }
}
