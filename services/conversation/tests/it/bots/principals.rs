//! Whose service principal a bot may be.

use diwan_proto::conversation::v1::{Bot, CreateBotRequest, ExternalBot, UpdateBotRequest};
use diwan_runtime::ids;
use tonic::Status;
use uuid::Uuid;

use super::reason;
use crate::{
    bot_calls::{ANSWER, Robot, new},
    support::Office,
};

impl Office {
    async fn bot_of(&self, principal: Uuid) -> Result<Bot, Status> {
        let external = Some(ExternalBot { principal_id: principal.to_string(), answer_seconds: ANSWER });
        self.create_bot(CreateBotRequest { external, ..Default::default() }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_is_a_principal_of_the_account_or_one_of_the_installation_that_has_shown_itself() {
    let office = Office::open(1).await;
    let (own, foreign) = (ids::new_id(), ids::new_id());
    office.set_principal(ids::new_id(), foreign);
    office.set_principal(office.owner.account, own);
    // By the order of the feed the other account's is known when this one is.
    let bot = office.bot_of(own).await.unwrap();
    assert_eq!(reason(office.bot_of(foreign).await), "PRINCIPAL_NOT_FOUND");
    let installed = Robot { office: &office, principal: ids::new_id(), id: bot.id.clone() };
    assert_eq!(reason(office.bot_of(installed.principal).await), "PRINCIPAL_NOT_FOUND");
    let change = |principal: Uuid| UpdateBotRequest {
        request_id: new(),
        bot_id: bot.id.clone(),
        name: "Other".into(),
        external: Some(ExternalBot { principal_id: principal.to_string(), answer_seconds: ANSWER }),
        ..Default::default()
    };
    let update = async |change| office.bots().update_bot(office.world.request(&office.owner, change)).await;
    assert_eq!(reason(update(change(installed.principal)).await), "PRINCIPAL_NOT_FOUND");
    assert_eq!(installed.claim().await.turns, []);
    let changed = update(change(installed.principal)).await.unwrap().into_inner().bot.unwrap();
    assert_eq!(changed.external.unwrap().principal_id, installed.principal.to_string());
}
