//! gRPC-Web for browsers, to pages of the origins that are allowed (CORS, Fetch Standard section 3.3).

use std::{str::FromStr, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION,
        CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE, VARY,
    },
};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::{Front, forwarded::is_inner};

/// What a page may send; a token goes into `authorization`, never into a cookie.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, grpc-timeout, x-grpc-web, x-user-agent, accept-language, traceparent",
);
/// What a page may read of an answer that is a refusal from its head on.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");
/// How long a browser need not ask again, seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("7200");
/// These are between two neighbours, and a request that bears one does not go out over HTTP/2 (RFC 9113 section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    HOST,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The origins whose pages may call, e.g. `https://app.example.com`.
#[derive(Clone, Debug)]
pub struct Origins(Arc<[HeaderValue]>);

/// A list of origins that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("origins are written https://app.example.com, separated by commas")]
pub struct NoOrigins;

impl FromStr for Origins {
    type Err = NoOrigins;

    fn from_str(text: &str) -> Result<Self, NoOrigins> {
        let origin = |text: &str| {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(NoOrigins)?;
            // A wildcard would let any page call with a token that it got hold of; a path is no part of an origin.
            let good = !host.is_empty() && !host.contains(['*', '/', '?', '#', ' ']);
            good.then(|| HeaderValue::try_from(text).ok()).flatten().ok_or(NoOrigins)
        };
        text.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Self)
    }
}

/// Answers gRPC-Web from allowed pages and from programs, preflights, and plain gRPC over HTTP/2.
pub(crate) async fn answer(front: Front, origins: &Origins, mut request: Request<Body>) -> Response<Body> {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else { return translated(front, request).await };
    if !origins.0.contains(&origin) {
        return empty(StatusCode::FORBIDDEN);
    }
    let mut response = if is_preflight(&request) {
        preflight()
    } else {
        request.headers_mut().remove(ORIGIN);
        translated(front, request).await
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

async fn translated(front: Front, mut request: Request<Body>) -> Response<Body> {
    if request.version() != Version::HTTP_2 {
        without_connection(request.headers_mut());
    }
    let answer = GrpcWebLayer::new().layer(front.map_response(unmeasured)).call(request).await;
    answer.unwrap_or_else(|never| match never {})
}

/// tonic-web passes the length of a body on, though it adds a frame for the trailers, and HTTP/1.1 would cut that frame off.
fn unmeasured(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.map(|body| Body::new(body.map_frame(|frame| frame)))
}

/// Takes away what is between two neighbours, also what `Connection` names as such (RFC 9110 section 7.6.1), but nothing for which the
/// request is to be refused.
fn without_connection(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        named.flat_map(|value| value.split(',')).flat_map(|name| name.trim().parse()).collect();
    for name in named.into_iter().filter(|name| !is_inner(name)).chain(OF_THE_CONNECTION) {
        headers.remove(name);
    }
}

fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_two_neighbours_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop ,nonsense name"),
            ("connection", "x-other, diwan-gateway-token"),
            ("diwan-gateway-token", "1"),
            ("keep-alive", "1"),
            ("proxy-connection", "x"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("x-end", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        without_connection(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["diwan-gateway-token", "x-end"], "what it is refused for stays");
    }

    #[test]
    fn origins_are_whole_and_never_a_wildcard() {
        assert_eq!("https://a.example, http://localhost:3000".parse::<Origins>().unwrap().0.len(), 2);
        for text in ["", "*", "https://*", "https://*.example", "a.example", "https://a.example/", "https://a.example,"]
        {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
    }
}
