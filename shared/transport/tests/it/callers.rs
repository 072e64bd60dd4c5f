//! Nobody is whom he says he is.

use diwan_access::{Caller, SERVICE_TOKEN, caller};
use tonic::{Code, Request};

use crate::support::{Fake, INNER, OPEN, ask, both, request, world};

/// Answers with the caller whom admission proved, and whether there was a service's token.
fn who_calls() -> Fake {
    Fake::new(async |request: Request<String>| {
        let token = request.metadata().get(SERVICE_TOKEN.as_str()).is_some();
        Ok(format!("{:?} {token}", caller(&request)))
    })
}

#[tokio::test]
async fn a_caller_forged_in_the_extensions_of_a_request_is_nobody() {
    let world = world();
    let forged = || {
        let mut request = request();
        request.extensions_mut().insert(Caller::Service("identity".into()));
        request
    };
    for (place, network) in both(&world, who_calls()).await {
        let status = ask(network.to("billing"), INNER, forged()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{place}");
        assert_eq!(ask(network.to("billing"), OPEN, forged()).await.unwrap(), "Nobody false", "{place}");
    }
}

#[tokio::test]
async fn only_a_signed_transport_brings_a_services_token_and_only_the_named_service_is_let_in() {
    let world = world();
    for (place, network) in both(&world, who_calls()).await {
        let unsigned = network.to("billing");
        assert_eq!(ask(unsigned.clone(), OPEN, request()).await.unwrap(), "Nobody false", "{place}");
        assert_eq!(ask(unsigned.clone(), INNER, request()).await.unwrap_err().code(), Code::Unauthenticated, "{place}");
        let signed = |service| unsigned.clone().signed(&world.signer(service));
        let answer = ask(signed("identity"), INNER, request()).await.unwrap();
        assert_eq!(answer, "Service(\"identity\") true", "{place}");
        let status = ask(signed("mailbox"), INNER, request()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{place}");
        // A key that is no service's makes no service.
        let status = ask(signed("operator"), INNER, request()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{place}");
    }
}

#[tokio::test]
async fn a_signed_transport_replaces_a_token_that_came_along() {
    let world = world();
    for (place, network) in both(&world, who_calls()).await {
        let mut stolen = request();
        let token = world.signer("identity").service_token("billing").unwrap().to_str().unwrap().to_owned();
        stolen.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
        let status = ask(network.to("billing").signed(&world.signer("mailbox")), INNER, stolen).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{place}");
    }
}
