//! Customers who come back: to their closed conversation, or with a new one.

use diwan_proto::conversation::v1::{
    AvailabilityState, ConversationState, IngestMessageRequest, SetAvailabilityRequest, Transition, TransitionCause,
};
use diwan_runtime::ids;
use diwan_testkit::Person;
use uuid::Uuid;

use crate::support::{Inbox, Office};

/// A team with a sticky owner, and one agent of it who is there.
struct Shop {
    office: Office,
    agent: Person,
    _inbox: Inbox,
}

impl Shop {
    async fn open(limit: i32) -> Self {
        let office = Office::open(limit).await;
        office.set_team(office.team, 2, |team| (team.assignment_limit, team.sticky_owner) = (limit, true));
        office.until("select count(*) from teams where sticky_owner", 1).await;
        let agent = office.agent().await;
        let inbox = office.watch(&agent).await;
        Self { office, agent, _inbox: inbox }
    }

    /// A customer whom the agent has helped.
    async fn customer(&self) -> IngestMessageRequest {
        let mail = self.office.mail();
        let id = self.office.deliver(mail.clone()).await;
        self.office.held_by(&self.agent, id).await;
        self.office.close(&self.agent, id).await.unwrap();
        mail
    }

    /// A new matter of the same customer.
    fn again(&self, mail: &IngestMessageRequest) -> IngestMessageRequest {
        IngestMessageRequest { from_email: mail.from_email.clone(), ..self.office.mail() }
    }

    async fn watching(&self) {
        let state = AvailabilityState::Watching.into();
        let request = SetAvailabilityRequest { request_id: ids::new_id().to_string(), state };
        self.office.inbox().set_availability(self.office.world.request(&self.agent, request)).await.unwrap();
    }

    async fn causes(&self, id: Uuid) -> Vec<TransitionCause> {
        self.office.transitions(id).await.iter().map(Transition::cause).collect()
    }

    async fn state(&self, id: Uuid) -> ConversationState {
        self.office.get(&self.office.owner, id).await.unwrap().state()
    }

    /// What the ledger says of why the agent did not get it; `None`: he did.
    async fn refused(&self, id: Uuid) -> Option<String> {
        sqlx::query_scalar(
            "select d.refusal from decisions d
             join transitions t on t.account_id = d.account_id and t.decision_id = d.id
             where t.conversation_id = $1 and d.kind = 'RETURN' order by t.version desc limit 1",
        )
        .bind(id)
        .fetch_one(self.office.pool())
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_is_back_gets_the_agent_whom_he_had_whoevers_turn_it_is() {
    let shop = Shop::open(0).await;
    let customer = shop.customer().await;
    // By the rules of the automatic assignment it would be the newcomer's turn.
    let newcomer = shop.office.agent().await;
    let _inbox = shop.office.watch(&newcomer).await;
    sqlx::query("update slots set automatic_count = 9 where user_id = $1")
        .bind(shop.agent.user)
        .execute(shop.office.pool())
        .await
        .unwrap();
    let id = shop.office.deliver(shop.again(&customer)).await;
    assert_eq!(shop.state(id).await, ConversationState::Open, "at once, without a wait in the queue");
    shop.office.held_by(&shop.agent, id).await;
    assert_eq!(shop.causes(id).await, [TransitionCause::Arrival, TransitionCause::StickyOwner]);
    assert_eq!(shop.refused(id).await, None);
    let stranger = shop.office.arrive().await;
    shop.office.held_by(&newcomer, stranger).await;
    shop.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_get_it_automatically_does_not_get_it_back_either() {
    let shop = Shop::open(1).await;
    let customer = shop.customer().await;
    let busy = shop.office.arrive().await;
    shop.office.held_by(&shop.agent, busy).await;
    let id = shop.office.deliver(shop.again(&customer)).await;
    assert_eq!((shop.state(id).await, shop.refused(id).await.as_deref()), (ConversationState::Queued, Some("FULL")));
    shop.watching().await;
    shop.office.close(&shop.agent, busy).await.unwrap();
    let id = shop.office.deliver(shop.again(&customer)).await;
    assert_eq!(shop.refused(id).await.as_deref(), Some("WATCHING"));
    // In another team he is nobody.
    let other = shop.office.second_team(0).await;
    shop.office.set_team(other, 2, |team| team.sticky_owner = true);
    shop.office.until("select count(*) from teams where sticky_owner", 2).await;
    let mail = IngestMessageRequest { team_id: other.to_string(), ..shop.again(&customer) };
    let id = shop.office.deliver(mail).await;
    assert_eq!(shop.refused(id).await.as_deref(), Some("NOT_MEMBER"));
    shop.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_one_goes_to_its_former_holder_only_below_his_limit_and_while_he_is_active() {
    let shop = Shop::open(1).await;
    let (office, agent) = (&shop.office, &shop.agent);
    let first = shop.customer().await;
    let answer = |mail: &IngestMessageRequest| IngestMessageRequest {
        references: vec![mail.rfc_message_id.clone()],
        ..shop.again(mail)
    };
    let id = office.deliver(answer(&first)).await;
    office.held_by(agent, id).await;
    assert_eq!((shop.causes(id).await.pop(), shop.refused(id).await), (Some(TransitionCause::Reopened), None));
    office.close(agent, id).await.unwrap();
    let busy = office.arrive().await;
    office.held_by(agent, busy).await;
    assert_eq!(office.deliver(answer(&first)).await, id);
    assert_eq!((shop.state(id).await, shop.refused(id).await.as_deref()), (ConversationState::Queued, Some("FULL")));
    office.audit().await;
}
