//! What only the gateway may say of a request, and how a service knows that the gateway says it.
//!
//! Over TCP anybody could claim a client's address. It is believed of a peer whose certificate bears the gateway's name, or next
//! to the gateway's own token; otherwise it is taken away before anybody reads it. In one process the gateway itself calls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_access::Admission;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::{CLIENT_ADDRESS, tls::Certified};

/// The gateway's own token for the service that it forwards to.
pub(crate) const GATEWAY_TOKEN: HeaderName = HeaderName::from_static("diwan-gateway-token");
const GATEWAY: &str = "gateway";
/// A proved token is not proved anew for so long: it may be believed so much longer than it is good.
const REMEMBERED: Duration = Duration::from_secs(10);

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
