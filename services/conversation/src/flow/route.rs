//! The way of a conversation to its team: by the account's routing rules.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        rules::{self, Channel, Enquiry, Rule, Via},
        state::Priority,
        text::{Words, language},
    },
    store::{Tx, archive, contacts, groups, rules as store, topics},
};

/// Where a conversation goes.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The team, active unless it is not known yet.
    pub team: Uuid,
    /// The priority that it gets; `None`: it stays.
    pub priority: Option<Priority>,
    /// What it is about: what it was about, and what the rule adds.
    pub topics: Vec<Uuid>,
    /// The bot that it starts with, as far as the rule says.
    pub bot: Option<Uuid>,
    /// What is kept of it; `None`: the account has no rules, and the team was given.
    kept: Option<(Via, Enquiry)>,
}

/// What comes in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// From whom.
    pub contact: Uuid,
    /// By which mailbox.
    pub mailbox: Option<Uuid>,
    /// Of its first message.
    pub subject: &'a str,
    /// Of its first message.
    pub text: &'a str,
    /// What it is about.
    pub topics: &'a [Uuid],
    /// The team where no rule matches.
    pub own: Option<Uuid>,
}

/// Finds the team. The list is read in one statement, without a lock: it is the list before a change of it or after it.
///
/// # Errors
/// [`Error::TeamNotFound`]: no rule matches, no team was given, and the fallback is not known yet.
pub async fn route(tx: &mut Tx, account: Uuid, arrival: Arrival<'_>) -> Result<Routed, Error> {
    let list: Vec<Rule> = store::list(&mut *tx, account).await?.into_iter().map(store::Stored::rule).collect();
    if let (true, Some(team)) = (list.is_empty(), arrival.own) {
        return direct(tx, account, (team, arrival.topics)).await;
    }
    let topics = in_use(tx, account, arrival.topics).await?;
    let enquiry = enquiry(tx, account, (arrival, &topics), &list).await?;
    let matched = rules::first_match(&list, &enquiry);
    let fallback = store::fallback(tx, account).await?;
    let (team, via) = rules::team(matched, arrival.own, fallback).ok_or(Error::TeamNotFound)?;
    let topics = match matched {
        Some(rule) => in_use(tx, account, &[topics, rule.add_topics.clone()].concat()).await?,
        None => topics,
    };
    let team = archive::resolve(tx, account, team).await?.unwrap_or(team);
    let (priority, bot) = (matched.and_then(|rule| rule.priority), matched.and_then(|rule| rule.bot));
    Ok(Routed { team, priority, topics, bot, kept: Some((via, enquiry)) })
}

/// Without rules: to the team that was given, or whatever has taken its place.
pub async fn direct(tx: &mut Tx, account: Uuid, (team, topics): (Uuid, &[Uuid])) -> Result<Routed, Error> {
    let topics = in_use(tx, account, topics).await?;
    let team = archive::resolve(tx, account, team).await?.unwrap_or(team);
    Ok(Routed { team, priority: None, topics, bot: None, kept: None })
}

/// Keeps what led the conversation to its team.
pub async fn keep(tx: &mut Tx, account: Uuid, of: (Uuid, i64), routed: &Routed, now: Timestamp) -> Result<(), Error> {
    match &routed.kept {
        Some((via, enquiry)) => store::keep(tx, account, of, (routed.team, *via), enquiry, now).await,
        None => Ok(()),
    }
}

/// What the conditions look at: only what some rule asks for is read.
async fn enquiry(
    tx: &mut Tx,
    account: Uuid,
    (arrival, topics): (Arrival<'_>, &[Uuid]),
    list: &[Rule],
) -> Result<Enquiry, Error> {
    let asked = |asks: fn(&Rule) -> bool| list.iter().any(asks);
    let text = format!("{}\n{}", arrival.subject, arrival.text);
    let country = if asked(|rule| !rule.conditions.countries.is_empty()) {
        contacts::country(tx, account, arrival.contact).await?
    } else {
        None
    };
    let groups = if asked(|rule| !rule.conditions.groups.is_empty()) {
        groups::of_contact(tx, account, arrival.contact).await?
    } else {
        Vec::new()
    };
    Ok(Enquiry {
        topics: topics.to_vec(),
        country,
        groups,
        mailbox: arrival.mailbox,
        channel: Channel::Email,
        language: asked(|rule| !rule.conditions.languages.is_empty()).then(|| language(&text)).flatten(),
        words: Words::of(if asked(|rule| !rule.conditions.keywords.is_empty()) { &text } else { "" }),
    })
}

/// Those topics that are in use, each once. They stay so until the end of the transaction.
pub async fn in_use(tx: &mut Tx, account: Uuid, topics: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let known = topics::share(tx, account, topics).await?;
    Ok(known.into_iter().filter(|(_, archived)| !archived).map(|(topic, _)| topic).collect())
}
