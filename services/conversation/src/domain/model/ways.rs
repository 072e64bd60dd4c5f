//! The ways of conversations to their teams: the routing rules, the topics that they look at, and the bot.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::world::{Conversation, World, id, number};
use crate::{
    domain::{
        rules::{Channel, Conditions, Enquiry, Rule, Via, first_match, team},
        state::{Priority, State},
        text::Words,
    },
    flow::close::lacks_topic,
};

/// What a rule says.
#[derive(Clone, Debug)]
pub struct Content {
    pub topics: Vec<usize>,
    /// Whether it wants the customer to be of the one country.
    pub country: bool,
    pub team: usize,
    pub priority: Option<Priority>,
    pub adds: Vec<usize>,
    pub bot: bool,
}

/// What is known of a conversation that comes in.
pub fn enquiry(topics: &[usize], country: bool) -> Enquiry {
    Enquiry {
        topics: topic_ids(topics),
        country: country.then(|| COUNTRY.to_owned()),
        groups: Vec::new(),
        mailbox: None,
        channel: Channel::Email,
        language: None,
        words: Words::of(""),
    }
}

/// Topics, rules and teams are never taken for each other.
const FIRST_TOPIC: usize = 1_000;
const FIRST_RULE: usize = 10_000;
const COUNTRY: &str = "EG";

pub fn topic_ids(topics: &[usize]) -> Vec<Uuid> {
    let ids: BTreeSet<Uuid> = topics.iter().map(|topic| id(FIRST_TOPIC + topic)).collect();
    ids.into_iter().collect()
}

/// Where a conversation goes, and as what.
pub struct Way {
    pub team: usize,
    pub priority: Option<Priority>,
    pub topics: Vec<Uuid>,
    pub bot: bool,
}

impl World {
    /// What `flow::rules` takes, at a place of the list.
    pub fn add_rule(&mut self, place: usize, content: &Content) {
        let conditions = Conditions {
            topics: topic_ids(&content.topics),
            countries: content.country.then(|| COUNTRY.to_owned()).into_iter().collect(),
            ..Conditions::default()
        };
        if conditions.is_empty() || self.teams[content.team].archived_to.is_some() {
            return;
        }
        let rule = Rule {
            id: id(FIRST_RULE + self.step),
            conditions,
            team: id(content.team),
            priority: content.priority,
            add_topics: topic_ids(&content.adds),
            bot: content.bot.then(Uuid::nil),
            version: 1,
        };
        self.rules.insert(place, rule);
    }

    /// What `flow::route` does.
    pub fn way(&self, enquiry: &Enquiry, own: Option<usize>) -> Way {
        let matched = first_match(&self.rules, enquiry);
        let (team, via) = team(matched, own.map(id), Some(id(self.fallback))).unwrap();
        let speaking = self.rules.iter().position(|rule| speaks(rule, enquiry));
        match (via, speaking, own) {
            (Via::Rule(rule, _), Some(first), _) => {
                assert_eq!((rule, team), (self.rules[first].id, self.rules[first].team));
            }
            (Via::Mailbox, None, Some(own)) => assert_eq!(team, id(own)),
            (Via::Fallback, None, None) => assert_eq!(team, id(self.fallback)),
            other => panic!("{other:?} for {enquiry:?}"),
        }
        let added = matched.into_iter().flat_map(|rule| &rule.add_topics);
        Way {
            team: self.heir(number(team)),
            priority: matched.and_then(|rule| rule.priority),
            topics: self.in_use(enquiry.topics.iter().chain(added)),
            bot: self.bot && matched.is_some_and(|rule| rule.bot.is_some()),
        }
    }

    /// What `flow::route::in_use` does.
    pub fn in_use<'a>(&self, topics: impl IntoIterator<Item = &'a Uuid>) -> Vec<Uuid> {
        let known: BTreeSet<Uuid> =
            topics.into_iter().filter(|topic| !self.archived_topics.contains(topic)).copied().collect();
        known.into_iter().collect()
    }

    /// What `flow::label::set_topics` does: those that are archived stay, and none of them comes.
    pub fn label(&mut self, conversation: usize, topics: &[usize]) {
        let wanted = topic_ids(topics);
        let has = &self.conversations[conversation].enquiry.topics;
        let Conversation { team, state, .. } = self.conversations[conversation];
        let lacks = state == State::Closed && lacks_topic(self.teams[team].mandatory, &wanted);
        if !lacks && wanted.iter().all(|topic| has.contains(topic) || !self.archived_topics.contains(topic)) {
            self.conversations[conversation].enquiry.topics = wanted;
        }
    }

    /// What `flow::bot_talk::leave` does: to the prospective team, to one that the bot names, or by the rules for what it has learned.
    pub fn leave_bot(&mut self, conversation: usize, to: Exit) {
        let found = &self.conversations[conversation];
        assert_eq!(found.last_holder, None, "what is with a bot has had no holder");
        let (prospective, mut enquiry) = (found.team, found.enquiry.clone());
        let team = match to {
            Exit::Prospective => prospective,
            Exit::Team(team) => team,
            Exit::Rules(learned) => {
                enquiry.topics = self.learned(conversation, &learned);
                let way = self.way(&enquiry, Some(prospective));
                let found = &mut self.conversations[conversation];
                found.priority = way.priority.unwrap_or(found.priority);
                found.enquiry.topics = way.topics;
                way.team
            }
        };
        self.queue(conversation, self.heir(team), self.now);
    }
}

/// How a conversation leaves its bot.
pub enum Exit {
    Prospective,
    Team(usize),
    /// With these topics besides.
    Rules(Vec<usize>),
}

/// Whether a rule speaks of an enquiry: said another way than the rules say it themselves.
fn speaks(rule: &Rule, enquiry: &Enquiry) -> bool {
    let Conditions { topics, countries, .. } = &rule.conditions;
    let (wanted, known): (BTreeSet<_>, BTreeSet<_>) = (topics.iter().collect(), enquiry.topics.iter().collect());
    let about = wanted.is_empty() || !wanted.is_disjoint(&known);
    about
        && (countries.is_empty()
            || countries.iter().any(|country| Some(country.as_str()) == enquiry.country.as_deref()))
}
