//! What a client may not say: metadata that gRPC keeps for itself, and more metadata than services take. What services say to one another
//! its front has refused already.

use http::{HeaderMap, HeaderName, Request};

use crate::error::Error;

/// Reserved for gRPC itself (gRPC over HTTP/2, "Requests"); of these a client sends the ones below. The rest is no offence, since some
/// libraries send more by themselves (`grpc-previous-rpc-attempts`, `grpc-trace-bin`), and goes no further.
const RESERVED: &str = "grpc-";
const CLIENTS: [&str; 3] = ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding"];

/// The most headers of a request, bytes as HTTP/2 counts them (RFC 9113 section 6.5.2). A service takes 16 KiB, some of it from the
/// gateway itself; it would refuse more without a word, and end the connection, everybody's, over four times as much.
const LARGEST: usize = 12 * 1024;
/// What HTTP/2 counts for each beside its name and its value, bytes.
const EACH: usize = 32;

/// Refuses a request that no service would take.
///
/// # Errors
/// [`Error::HeadersTooLarge`].
pub(crate) fn bounded<B>(request: &Request<B>) -> Result<(), Error> {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let sizes = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    if path + sizes.sum::<usize>() > LARGEST { Err(Error::HeadersTooLarge(LARGEST)) } else { Ok(()) }
}

/// Takes away what is reserved.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Nearly always none, so that nothing is allocated.
    let reserved: Vec<HeaderName> = headers.keys().filter(|name| is_reserved(name.as_str())).cloned().collect();
    for name in reserved {
        headers.remove(name);
    }
}

fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED) && !CLIENTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_headers_and_a_long_path_count_as_one_long_header_does() {
        let fits = |headers: usize, value: usize, path: usize| {
            let request = Request::builder().uri(format!("/{}", "p".repeat(path)));
            let add = |request: http::request::Builder, i| request.header(format!("x-{i:04}"), "v".repeat(value));
            bounded(&(0..headers).fold(request, add).body(()).unwrap()).is_ok()
        };
        assert_eq!([fits(0, 0, 100), fits(1, 12_000, 100), fits(200, 10, 100)], [true; 3]);
        assert_eq!([fits(0, 0, 12_500), fits(1, 12_500, 0), fits(300, 10, 0)], [false; 3]);
    }

    #[test]
    fn what_is_reserved_goes_and_what_is_the_clients_stays() {
        let mut headers = HeaderMap::new();
        let reserved = ["grpc-status", "grpc-previous-rpc-attempts", "grpc-tags-bin"];
        let clients =
            ["authorization", "grpc-timeout", "grpc-encoding", "traceparent", "accept-language", "x-request-id"];
        for name in reserved.into_iter().chain(clients) {
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
