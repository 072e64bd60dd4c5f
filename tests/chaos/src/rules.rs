//! Routing rules come, go and change places.

use diwan_e2e::{Failure, door::request_id};
use diwan_proto::conversation::v1::{
    CreateRoutingRuleRequest, DeleteRoutingRuleRequest, ReorderRoutingRulesRequest, RoutingConditions,
    routing_rule_service_client::RoutingRuleServiceClient,
};
use rand::{
    RngExt as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

use crate::{
    call::{As, At, Ended},
    customers::WORDS,
    operation::Outcome,
    stage::Stage,
};

/// Rules that are there.
#[derive(Default)]
pub(crate) struct Rules {
    /// Those that begin with a bot stay.
    bots: Vec<String>,
    others: Vec<String>,
}

impl Stage {
    /// Whoever writes one of these words begins with a bot.
    pub(crate) async fn make_bots_rules(&self) -> Result<(), Failure> {
        let bots = self.bots();
        for (number, (word, bot)) in [(WORDS[1], bots.external), (WORDS[4], bots.menu)].into_iter().enumerate() {
            let team = self.teams[number % self.teams.len()].clone();
            let id = self.make_rule(At::Replica(number), word, team, bot.to_string()).await?.answered()?;
            self.rules.lock().await.bots.push(id);
        }
        Ok(())
    }

    pub(crate) async fn create_rule(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut rules = self.rules.lock().await;
        let word = WORDS.choose(random).copied().unwrap_or_default();
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        let made = self.make_rule(At::replica(random), word, team, String::new()).await?;
        if let Ended::Answered(id) = &made {
            rules.others.push(id.clone());
        }
        Ok(made.done())
    }

    async fn make_rule(&self, at: At, word: &str, team_id: String, bot_id: String) -> Result<Ended<String>, Failure> {
        let request = CreateRoutingRuleRequest {
            request_id: request_id(),
            name: format!("Whoever writes of {word}"),
            conditions: Some(RoutingConditions { keywords: vec![word.into()], ..RoutingConditions::default() }),
            team_id,
            bot_id,
            ..CreateRoutingRuleRequest::default()
        };
        let made = self.call(As::Person(&self.owner), at, &request, |channel, request| async move {
            RoutingRuleServiceClient::new(channel).create_routing_rule(request).await
        });
        Ok(made.await?.map(|answer| answer.rule.unwrap_or_default().id))
    }

    pub(crate) async fn delete_rule(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut rules = self.rules.lock().await;
        if rules.others.is_empty() {
            return Ok(None);
        }
        let place = random.random_range(0..rules.others.len());
        let request = DeleteRoutingRuleRequest { request_id: request_id(), rule_id: rules.others.swap_remove(place) };
        let at = At::replica(random);
        let deleted = self.call(As::Person(&self.owner), at, &request, |channel, request| async move {
            RoutingRuleServiceClient::new(channel).delete_routing_rule(request).await
        });
        Ok(deleted.await?.done())
    }

    pub(crate) async fn reorder_rules(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let rules = self.rules.lock().await;
        let mut rule_ids = [rules.bots.as_slice(), &rules.others].concat();
        rule_ids.shuffle(random);
        let request = ReorderRoutingRulesRequest { request_id: request_id(), rule_ids };
        let at = At::replica(random);
        let reordered = self.call(As::Person(&self.owner), at, &request, |channel, request| async move {
            RoutingRuleServiceClient::new(channel).reorder_routing_rules(request).await
        });
        Ok(reordered.await?.done())
    }
}
