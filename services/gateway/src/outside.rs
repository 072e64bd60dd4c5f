//! What a client may not say: metadata that services take from one another.

use http::{HeaderMap, HeaderName};

/// Ours. A service's token, the gateway's word on a client, and whatever comes to be: nothing of it comes from outside.
const OURS: [&str; 2] = ["diwan-", "x-diwan-"];
/// Reserved for gRPC itself (gRPC over HTTP/2, "Requests"); of these a client sends the ones below, and the rest is for the inside.
const RESERVED: &str = "grpc-";
const CLIENTS: [&str; 3] = ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];

/// Takes it away.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Nearly always none, so that nothing is allocated.
    let inner: Vec<HeaderName> = headers.keys().filter(|name| is_internal(name)).cloned().collect();
    for name in inner {
        headers.remove(name);
    }
}

fn is_internal(name: &HeaderName) -> bool {
    let name = name.as_str();
    OURS.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with(RESERVED) && !CLIENTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_goes_and_what_is_the_clients_stays() {
        let mut headers = HeaderMap::new();
        let inner =
            ["diwan-service-token", "diwan-gateway-token", "diwan-client-address", "x-diwan-user", "grpc-status"];
        let clients =
            ["authorization", "grpc-timeout", "grpc-encoding", "traceparent", "accept-language", "x-request-id"];
        for name in inner.into_iter().chain(clients) {
            headers.append(name, "one".parse().unwrap());
            headers.append(name, "two".parse().unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            ["accept-language", "authorization", "grpc-encoding", "grpc-timeout", "traceparent", "x-request-id"]
        );
    }
}
