//! CheckerService.

use std::sync::Arc;

use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    CheckRoutingRequest, CheckRoutingResponse, checker_service_server::CheckerService,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Api;
use crate::{
    Error,
    app::App,
    store::checker::{self, RULES},
};

/// Responses that wait for a client which reads slowly: what is checked in one account, so that it does not hold its snapshot.
const BUFFER: usize = RULES.len();

type Out = mpsc::Sender<Result<CheckRoutingResponse, Status>>;

#[tonic::async_trait]
impl CheckerService for Api {
    type CheckRoutingStream = ReceiverStream<Result<CheckRoutingResponse, Status>>;

    async fn check_routing(
        &self,
        request: Request<CheckRoutingRequest>,
    ) -> Result<Response<Self::CheckRoutingStream>, Status> {
        let mut fields = Fields::new();
        let account = fields.optional_uuid("account_id", &request.get_ref().account_id);
        fields.finish()?;
        let pool = self.0.database.pool();
        let accounts = match account {
            None => checker::accounts(pool).await?,
            Some(account) if checker::is_known(pool, account).await? => vec![account],
            Some(_) => return Err(Error::AccountNotFound.into()),
        };
        let (out, responses) = mpsc::channel(BUFFER);
        self.0.drain.spawn(run(self.0.clone(), accounts, out));
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// Checks the accounts until all are, the client goes, or the process drains.
async fn run(app: Arc<App>, accounts: Vec<Uuid>, out: Out) {
    let outcome = tokio::select! {
        biased;
        () = app.drain.begun() => Err(Error::Interrupted),
        () = out.closed() => return,
        outcome = check(&app, &accounts, &out) => outcome,
    };
    if let Err(error) = outcome {
        let _ = out.try_send(Err(error.into()));
    }
}

async fn check(app: &App, accounts: &[Uuid], out: &Out) -> Result<(), Error> {
    let total = count(accounts.len());
    for (done, account) in (0_i64..).zip(accounts) {
        let mut tx = checker::snapshot(app.database.pool()).await?;
        for (rules_checked, rule) in (1..).zip(RULES) {
            let found = checker::check(&mut tx, *account, rule).await?;
            let last = usize::try_from(rules_checked).is_ok_and(|checked| checked == RULES.len());
            let response = CheckRoutingResponse {
                account_id: account.to_string(),
                kind: rule.into(),
                violations: found.violations,
                violation_count: found.count,
                rules_checked,
                rules_total: i32::try_from(RULES.len()).unwrap_or(i32::MAX),
                accounts_checked: done + i64::from(last),
                accounts_total: total,
            };
            if out.send(Ok(response)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
