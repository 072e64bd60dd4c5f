//! The public keys of access tokens over HTTP, for whoever verifies tokens with the usual libraries: `/.well-known/jwks.json` on
//! the port of gRPC, by HTTP/1.1 and HTTP/2. It is what this process itself accepts; nobody else is asked.

use std::time::Duration;

use diwan_access::{
    Admission,
    keys::{JWKS_MAX_AGE, JWKS_PATH},
};
use diwan_fault::Fault;
use diwan_proto::identity::v1::KeySet;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use serde_json::json;
use tonic::body::Body;

/// RFC 7517 section 8.5.2.
const TYPE: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
const NOT_YET: Duration = Duration::from_secs(1);

/// Whether a request is for the keys.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    request.uri().path() == JWKS_PATH
}

/// Answers with the keys.
pub(crate) fn answer<B>(admission: &Admission, request: &Request<B>) -> Response<Body> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    // Cut off from identity it could give out a key that was withdrawn.
    let Some(set) = admission.key_set() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, NOT_YET.as_secs().into());
    };
    let text = written(&set);
    let length = text.len().into();
    let mut response = Response::new(if request.method() == Method::HEAD { Body::empty() } else { Body::new(text) });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TYPE);
    headers.insert(CONTENT_LENGTH, length);
    if let Ok(caching) = HeaderValue::try_from(format!("public, max-age={}", JWKS_MAX_AGE.as_secs())) {
        headers.insert(CACHE_CONTROL, caching);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // They are public: any page may read them.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// What whoever may not even ask gets: 401, and why, for whoever reads a terminal.
pub(crate) fn refused(fault: &Fault) -> Response<Body> {
    let refusal = plain(StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    let mut refusal = refusal.map(|_| Body::new(Full::from(fault.to_string())));
    refusal.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    refusal
}

/// What a client of HTTP/1.1 gets for anything else where it is not spoken otherwise.
pub(crate) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn plain(status: StatusCode, name: HeaderName, value: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(name, value);
    response
}

/// In the form of RFC 7517 section 5.
fn written(set: &KeySet) -> String {
    let keys = set.keys.iter().map(
        |key| json!({ "kty": key.kty, "crv": key.crv, "kid": key.kid, "alg": key.alg, "use": key.r#use, "x": key.x }),
    );
    json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}
