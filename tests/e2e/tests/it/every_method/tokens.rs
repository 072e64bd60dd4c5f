//! Missing tokens.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_method_that_is_not_public_needs_a_token_at_the_gateway_and_at_the_service() {
    let world = World::new().await;
    let mut problems = Vec::new();
    for method in methods().iter().filter(|method| !world.admits(method, Caller::Public)) {
        let service = method.parent_service().full_name().split('.').nth(1).unwrap().to_owned();
        let mut doors = vec![world.gateway.clone()];
        if world.fresh.installation.address(&service).is_some() {
            doors.push(channel(&world.fresh, &service).await);
        }
        for door in doors {
            let answer = dynamic::call(&door, method, None, DynamicMessage::new(method.input())).await;
            let code = answer.as_ref().err().map(Status::code);
            if code != Some(Code::Unauthenticated) {
                problems.push(format!("{}: {answer:?}", method.full_name()));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
