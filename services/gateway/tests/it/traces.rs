//! A gateway that sends its spans nowhere adds nothing to a trace, and every call has one.

use std::collections::BTreeSet;

use diwan_proto::team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient};
use diwan_runtime::{Env, telemetry};
use diwan_testkit::World;
use diwan_transport::Front;

use crate::{
    smuggling::{Seen, both},
    support::{somebody, world},
};

/// What a service is told of the trace of a call that a client makes with this header.
async fn passed_on(world: &World, seen: &Seen, gateway: &Front, told: Option<&str>) -> Option<String> {
    let mut request = world.request(&somebody(), ListTeamsRequest::default());
    if let Some(told) = told {
        request.metadata_mut().insert("traceparent", told.parse().unwrap());
    }
    TeamServiceClient::new(gateway.clone()).list_teams(request).await.unwrap();
    seen.one("traceparent")
}

/// As a process without a receiver of traces starts.
fn without_a_receiver() {
    // Another test of this process may have done so before.
    let _ = telemetry::start("gateway", &Env::default().with("DIWAN_LOG", "off"));
    assert!(!telemetry::exports());
}

#[tokio::test]
async fn the_trace_of_a_client_reaches_the_service_as_he_told_it() {
    without_a_receiver();
    let (world, seen) = (world([]), Seen::default());
    for (place, gateway) in both(&world, &seen).await {
        for flags in ["00", "01"] {
            let told = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            assert_eq!(passed_on(&world, &seen, &gateway, Some(&told)).await, Some(told), "{place}");
        }
    }
}

#[tokio::test]
async fn a_call_without_a_trace_that_can_be_read_gets_one_of_its_own() {
    without_a_receiver();
    let (world, seen) = (world([]), Seen::default());
    for (place, gateway) in both(&world, &seen).await {
        let mut traces = BTreeSet::new();
        let none = "00-00000000000000000000000000000000-0000000000000000-01";
        let unreadable = [None, None, Some("nonsense"), Some(none), Some("00-0af7651916cd43dd8448eb211c80319c-01")];
        for told in unreadable {
            let made = passed_on(&world, &seen, &gateway, told).await.unwrap_or_default();
            // W3C Trace Context, section 3.2: version, trace id, parent id, flags.
            let parts: Vec<_> = made.split('-').collect();
            let [version, trace, parent, flags] = parts.try_into().unwrap_or_default();
            assert_eq!((version, trace.len(), parent.len(), flags), ("00", 32, 16, "01"), "{place}, {told:?}: {made}");
            assert!(trace.bytes().chain(parent.bytes()).all(|digit| digit.is_ascii_hexdigit()), "{made}");
            assert!(
                traces.insert(trace.to_owned()) && !trace.trim_matches('0').is_empty(),
                "{place}, {told:?}: {made}"
            );
        }
    }
}
