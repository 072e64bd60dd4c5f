//! Why a member did not get a conversation, and why one still waits: read off the routing's own comparisons. Pure.

use std::cmp::Ordering;

use uuid::Uuid;

use super::{
    routing::{Agent, Decision, PassedOver, hindrance, load},
    state::Availability,
};

/// Why a candidate did not get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// He could get nothing at all.
    Hindered(PassedOver),
    /// He used a higher share of the limit; of what others had not answered: he held more.
    HigherShare,
    /// He had got more automatically.
    HigherCount,
    /// They were equal, and his last one was later.
    LaterAssignment,
    /// They were equal in everything; the order of ids decided.
    LaterId,
    /// He had had it and not answered: whoever had not goes first.
    DidNotAnswer,
}

impl Reason {
    /// Under which its text stands.
    pub fn text(self) -> &'static str {
        match self {
            Self::Hindered(PassedOver::Deactivated) => "CANDIDATE_DEACTIVATED",
            Self::Hindered(PassedOver::Offline) => "CANDIDATE_OFFLINE",
            Self::Hindered(PassedOver::Watching) => "CANDIDATE_WATCHING",
            Self::Hindered(PassedOver::Full) => "CANDIDATE_AT_LIMIT",
            Self::Hindered(PassedOver::NotMember) => "CANDIDATE_NOT_MEMBER",
            Self::Hindered(PassedOver::OutOfHours) => "CANDIDATE_OUT_OF_HOURS",
            Self::DidNotAnswer => "CANDIDATE_NO_ANSWER",
            Self::HigherShare => "CANDIDATE_HIGHER_SHARE",
            Self::HigherCount => "CANDIDATE_HIGHER_COUNT",
            Self::LaterAssignment => "CANDIDATE_LATER_ASSIGNMENT",
            Self::LaterId => "CANDIDATE_LATER_ID",
        }
    }
}

/// One turn of the routing: who got a conversation, if anybody did.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The team's limit; `None`: no limit.
    pub limit: Option<i32>,
    /// Who got it, as he stood before.
    pub chosen: Option<&'a Agent>,
    /// Who had had it and not answered.
    pub asked: &'a [Uuid],
}

impl Turn<'_> {
    /// Why `agent` did not get it, as he stood then; `None`: he is the chosen one, or nobody is and he could.
    pub fn why_not(self, agent: &Agent) -> Option<Reason> {
        let Self { limit, chosen, asked } = self;
        let counts = asked.is_empty();
        if let Some(hindrance) = hindrance(limit, agent) {
            return Some(Reason::Hindered(hindrance));
        }
        let chosen = chosen.filter(|chosen| chosen.user != agent.user)?;
        if asked.contains(&agent.user) {
            return Some(Reason::DidNotAnswer);
        }
        let ((mine, my_last, _), (his, his_last, _)) = (load(limit, counts, agent), load(limit, counts, chosen));
        Some(match (mine.cmp(&his), my_last.cmp(&his_last)) {
            (Ordering::Equal, Ordering::Equal) => Reason::LaterId,
            (Ordering::Equal, _) => Reason::LaterAssignment,
            _ if counts && limit.is_none() => Reason::HigherCount,
            _ => Reason::HigherShare,
        })
    }

    /// The members at this turn, each with why he did not get it: the chosen one, then who could have in the order in which they
    /// would have, then who could not.
    pub fn in_order(self, agents: Vec<Agent>) -> Vec<(Agent, Option<Reason>)> {
        let mut all: Vec<_> = agents.into_iter().map(|agent| (self.why_not(&agent), agent)).collect();
        all.sort_by_key(|(reason, agent)| {
            let hindered = matches!(reason, Some(Reason::Hindered(_)));
            let asked = *reason == Some(Reason::DidNotAnswer);
            (
                hindered,
                asked,
                reason.is_some(),
                (!hindered).then(|| load(self.limit, self.asked.is_empty(), agent)),
                agent.user,
            )
        });
        all.into_iter().map(|(reason, agent)| (agent, reason)).collect()
    }
}

/// Why something waits in a team's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The team has no members.
    NoMembers,
    /// The team is closed.
    OutOfHours,
    /// No member is ACTIVE.
    NobodyActive,
    /// Every ACTIVE member is at the limit.
    AllAtLimit,
    /// Others go before it and take every free place.
    BehindOthers,
    /// It is about to be given out.
    Due,
}

impl Wait {
    /// Under which its text stands.
    pub fn text(self) -> &'static str {
        match self {
            Self::NoMembers => "WAITS_NO_MEMBERS",
            Self::OutOfHours => "WAITS_OUT_OF_HOURS",
            Self::NobodyActive => "WAITS_NOBODY_ACTIVE",
            Self::AllAtLimit => "WAITS_ALL_AT_LIMIT",
            Self::BehindOthers => "WAITS_BEHIND_OTHERS",
            Self::Due => "WAITS_DUE",
        }
    }
}

/// Why a conversation waits, by what the routing would decide now; `given`: whether that gives it to somebody.
pub fn why_waiting(open: bool, agents: &[Agent], decision: &Decision, given: bool) -> Wait {
    let active = |agent: &Agent| agent.enabled && agent.availability == Availability::Active;
    match () {
        () if agents.is_empty() => Wait::NoMembers,
        () if !open => Wait::OutOfHours,
        () if !agents.iter().any(active) => Wait::NobodyActive,
        () if decision.candidates.is_empty() => Wait::AllAtLimit,
        () if given => Wait::Due,
        () => Wait::BehindOthers,
    }
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
