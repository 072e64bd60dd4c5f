//! The recount of everything that the routing keeps, as operators call it.

use diwan_e2e::Failure;
use diwan_proto::conversation::v1::{CheckRoutingRequest, checker_service_client::CheckerServiceClient};

use crate::{cast::Scene, report::Report};

/// Has everything recounted; nothing may be wrong.
pub(super) async fn measure(report: &mut Report, scene: &Scene) -> Result<(), Failure> {
    let operator = scene.operator("routing.check")?;
    let request = CheckRoutingRequest::default();
    let mut answers = CheckerServiceClient::new(operator.way()).check_routing(request).await?.into_inner();
    let (mut violations, mut rules) = (0, 0);
    while let Some(answer) = answers.message().await? {
        violations += answer.violation_count;
        rules = rules.max(answer.rules_checked);
    }
    if rules == 0 {
        return Err("the checker has checked nothing".into());
    }
    report.bar("violations that the checker finds afterwards: none", violations, violations == 0);
    Ok(())
}
