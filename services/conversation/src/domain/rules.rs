//! Which team a conversation goes to: the first routing rule whose conditions all hold, else the mailbox's team, else the fallback.
//! Pure: the same list and the same enquiry lead to the same team.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{state::Priority, text::Words};

/// By what a conversation comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    /// E-mail, through a mailbox.
    Email,
}

/// What has to hold: of each list one entry is enough, an empty one holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// What it is about.
    pub topics: Vec<Uuid>,
    /// ISO 3166-1 alpha-2.
    pub countries: Vec<String>,
    /// By which it came in.
    pub mailboxes: Vec<Uuid>,
    /// By what it came in.
    pub channels: Vec<Channel>,
    /// Words or phrases in its first message.
    pub keywords: Vec<String>,
    /// Of its first message.
    pub languages: Vec<String>,
    /// That the contact is in.
    pub groups: Vec<Uuid>,
}

/// A routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which one.
    pub id: Uuid,
    /// When it matches.
    pub conditions: Conditions,
    /// The team that gets the conversation.
    pub team: Uuid,
    /// The priority that it gets; `None`: it stays.
    pub priority: Option<Priority>,
    /// Topics that it gets.
    pub add_topics: Vec<Uuid>,
    /// The bot that it starts with; `None`: in the team's queue.
    pub bot: Option<Uuid>,
    /// Rises with every change.
    pub version: i64,
}

/// What is known of a conversation that looks for its team. Its text is not kept.
#[derive(Clone, Debug, Serialize)]
pub struct Enquiry {
    /// What it is about.
    pub topics: Vec<Uuid>,
    /// Of the contact, where it is known.
    pub country: Option<String>,
    /// That the contact is in.
    pub groups: Vec<Uuid>,
    /// By which it came in.
    pub mailbox: Option<Uuid>,
    /// By what it came in.
    pub channel: Channel,
    /// Of its first message, where it can be told.
    pub language: Option<&'static str>,
    /// Of the subject and the text of its first message.
    #[serde(skip)]
    pub words: Words,
}

/// What led to a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// A rule and its version.
    Rule(Uuid, i64),
    /// No rule matched: the mailbox's team, or the prospective one.
    Mailbox,
    /// The account's fallback team.
    Fallback,
}

/// The first rule that matches.
pub fn first_match<'a>(rules: &'a [Rule], enquiry: &Enquiry) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.conditions.hold(enquiry))
}

/// The team, and what led to it. `None`: there is none.
pub fn team(matched: Option<&Rule>, own: Option<Uuid>, fallback: Option<Uuid>) -> Option<(Uuid, Via)> {
    let by_rule = matched.map(|rule| (rule.team, Via::Rule(rule.id, rule.version)));
    by_rule.or(own.map(|team| (team, Via::Mailbox))).or(fallback.map(|team| (team, Via::Fallback)))
}

impl Conditions {
    /// Whether there are none, so that they would hold for everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether all hold.
    pub fn hold(&self, enquiry: &Enquiry) -> bool {
        // What needs the text comes last: it is the dearest.
        any(&self.topics, |topic| enquiry.topics.contains(topic))
            && any(&self.countries, |country| enquiry.country.as_ref() == Some(country))
            && any(&self.groups, |group| enquiry.groups.contains(group))
            && any(&self.mailboxes, |mailbox| enquiry.mailbox == Some(*mailbox))
            && any(&self.channels, |channel| enquiry.channel == *channel)
            && any(&self.languages, |language| enquiry.language == Some(language.as_str()))
            && any(&self.keywords, |keyword| enquiry.words.contain(&Words::of(keyword)))
    }
}

fn any<T>(wanted: &[T], holds: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
