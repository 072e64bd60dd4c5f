//! What the gateway says of health: of each service that it offers, what that service says of itself.

use std::{collections::HashMap, time::Duration};

use diwan_access::Admission;
use diwan_launch::Context;
use diwan_runtime::Drain;
use diwan_transport::{SERVICES, Transport};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, health_check_response::ServingStatus as Answer, health_client::HealthClient,
        health_server::HealthServer,
    },
    server::{HealthReporter, HealthService, health_reporter},
};

use crate::forward::Offer;

const LIMIT: Duration = Duration::from_secs(1);
const WHILE_SERVING: Duration = Duration::from_secs(5);
const UNTIL_SERVING: Duration = Duration::from_millis(50);

/// The health of each offered service, asked for again and again; all of them NOT_SERVING once the process drains.
pub(crate) async fn follow(context: &Context, offered: &[Offer]) -> HealthServer<HealthService> {
    let (reporter, _) = health_reporter();
    // Until every service has been asked, the gateway as a whole is not ready either.
    set_all(&reporter, offered, ServingStatus::NotServing).await;
    let server = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
    let services = SERVICES.into_iter().map(|service| (service, context.network.to(service).within(LIMIT))).collect();
    let asked = Asked { reporter, services, offered: offered.to_vec(), admission: context.admission.clone() };
    context.drain.spawn(asked.until_drained(context.drain.clone()));
    server
}

/// Whom to ask, and who wants to know.
struct Asked {
    reporter: HealthReporter,
    services: HashMap<&'static str, Transport>,
    offered: Vec<Offer>,
    admission: Admission,
}

impl Asked {
    async fn until_drained(self, drain: Drain) {
        loop {
            let Some(all_serve) = drain.unless_begun(self.once()).await else { break };
            let pause = if all_serve { WHILE_SERVING } else { UNTIL_SERVING };
            if drain.unless_begun(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        set_all(&self.reporter, &self.offered, ServingStatus::NotServing).await;
    }

    /// Asks each service once; whether all of them serve and users are let in.
    async fn once(&self) -> bool {
        let admitting = self.admission.knows_revocations();
        let mut all = admitting;
        for offer in &self.offered {
            let serves = match offer.service.map(|service| self.services.get(service)) {
                Some(Some(transport)) => serves(transport.clone(), &offer.name).await,
                Some(None) => false,
                // The gateway's own answers with what it has, whoever is down.
                None => admitting,
            };
            all &= serves;
            self.reporter.set_service_status(&offer.name, status(serves)).await;
        }
        self.reporter.set_service_status("", status(all)).await;
        all
    }
}

async fn serves(transport: Transport, name: &str) -> bool {
    let answer = HealthClient::new(transport).check(HealthCheckRequest { service: name.to_owned() }).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == Answer::Serving)
}

async fn set_all(reporter: &HealthReporter, offered: &[Offer], status: ServingStatus) {
    for name in offered.iter().map(|offer| offer.name.as_str()).chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}

fn status(serves: bool) -> ServingStatus {
    if serves { ServingStatus::Serving } else { ServingStatus::NotServing }
}
