//! Decisions of the routing as one person may see them, with their texts.

use diwan_fault::text;
use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1::{
    DecisionKind, PassedOverReason, RoutingCandidate, RoutingDecision, RoutingOrigin, RoutingStep, RoutingVia,
    Transition,
};
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        explanation::{Reason, Turn},
        ledger::Kind,
        routing::{Agent, PassedOver},
        rules::{Channel, Via},
        state::{Availability, Cause},
    },
    store::explanations::{Kept, Origin},
};

/// Who reads an explanation.
pub struct Reader {
    /// He.
    pub user: Uuid,
    /// Whether he sees the routing rules.
    pub administrates: bool,
    /// Whether he directs a team, and so sees how its members are loaded.
    pub directs: Box<dyn Fn(Uuid) -> bool + Send + Sync>,
    /// Whether he sees everything of the contact.
    pub sees_contact: bool,
}

/// What happened, and what led to it; `behind`: whether there was a decision, and it as far as it is kept.
pub fn step(
    reader: &Reader,
    conversation: Uuid,
    transition: Transition,
    (decided, kept): (bool, Option<&Kept>),
    origin: Option<&Origin>,
) -> Result<RoutingStep, Error> {
    let decision = kept.map(|kept| of_kept(reader, conversation, kept)).transpose()?;
    let cause = Cause::of_proto(transition.cause()).ok_or(Error::Unknown("cause"))?;
    let mut sentences = vec![text(&format!("STEP_{}", cause.name()), &[])];
    sentences.extend(origin.map(|origin| origin_text(reader, origin)));
    if transition.over_limit {
        sentences.push(text("STEP_OVER_LIMIT", &[]));
    }
    sentences.extend(kept.and_then(|kept| refused(reader, kept)));
    Ok(RoutingStep {
        origin: origin.map(|origin| shown_origin(reader, origin)),
        decision,
        decision_expired: decided && kept.is_none(),
        text: sentences.join(" "),
        transition: Some(transition),
    })
}

/// Why an offer to one agent was refused: for himself, and for whoever directs the team.
fn refused(reader: &Reader, kept: &Kept) -> Option<String> {
    if kept.kind != Kind::Return {
        return None;
    }
    let reason = Reason::Hindered(kept.entry.refusal(kept.at)?);
    let looked_at = kept.entry.turn(kept.at, 0).unwrap_or_default();
    let his = kept.entry.stranger() == Some(reader.user) || looked_at.iter().any(|agent| agent.user == reader.user);
    if !his && !(reader.directs)(kept.team) {
        return Some(text("STEP_NOT_TAKEN", &[]));
    }
    Some(text("STEP_REFUSED", &[("why", reason_text(kept.entry.limit(), Some(reason)))]))
}

fn origin_text(reader: &Reader, origin: &Origin) -> String {
    match (origin.via, &origin.rule) {
        (Via::Rule(..), Some((name, _))) if reader.administrates => {
            text("ORIGIN_NAMED_RULE", &[("rule", name.clone())])
        }
        (Via::Rule(..), _) => text("ORIGIN_RULE", &[]),
        (Via::Mailbox, _) => text("ORIGIN_MAILBOX", &[]),
        (Via::Fallback, _) => text("ORIGIN_FALLBACK", &[]),
    }
}

fn shown_origin(reader: &Reader, origin: &Origin) -> RoutingOrigin {
    let (via, rule) = match origin.via {
        Via::Rule(rule, version) => (RoutingVia::Rule, Some((rule, version))),
        Via::Mailbox => (RoutingVia::Mailbox, None),
        Via::Fallback => (RoutingVia::Fallback, None),
    };
    let (facts, contact) = (&origin.facts, reader.sees_contact);
    RoutingOrigin {
        via: via.into(),
        rule_id: rule.map(|(rule, _)| rule.to_string()).unwrap_or_default(),
        rule_version: rule.map_or(0, |(_, version)| version),
        rule_name: origin.rule.clone().filter(|_| reader.administrates).map(|(name, _)| name).unwrap_or_default(),
        rule_changed: rule.is_some_and(|(_, then)| origin.rule.as_ref().is_none_or(|(_, now)| *now != then)),
        team_id: origin.team.to_string(),
        topic_ids: facts.topics.iter().map(ToString::to_string).collect(),
        country: facts.country.clone().filter(|_| contact).unwrap_or_default(),
        mailbox_id: facts.mailbox.map(|id| id.to_string()).unwrap_or_default(),
        channel: match facts.channel {
            Channel::Email => diwan_proto::conversation::v1::Channel::Email.into(),
        },
        language: facts.language.clone().unwrap_or_default(),
        contact_group_ids: facts.groups.iter().filter(|_| contact).map(ToString::to_string).collect(),
    }
}

/// A decision in the ledger, as far as it concerns one conversation.
fn of_kept(reader: &Reader, conversation: Uuid, kept: &Kept) -> Result<RoutingDecision, Error> {
    let damaged = Error::Unknown("decision");
    let entry = &kept.entry;
    let given = entry.given().unwrap_or_default();
    let chosen = given.iter().find(|(id, _)| *id == conversation).map(|(_, user)| *user);
    let place = entry.place(conversation);
    let agents = entry.turn(kept.at, place.unwrap_or_default()).ok_or(damaged)?;
    let candidates = match kept.kind {
        Kind::Batch => {
            let found = chosen.and_then(|chosen| agents.iter().find(|agent| agent.user == chosen)).cloned();
            let head = entry.head(kept.at).unwrap_or_default();
            let asked = head.into_iter().find(|waiting| waiting.conversation == conversation);
            let asked = asked.map(|waiting| waiting.asked).unwrap_or_default();
            Turn { limit: entry.limit(), chosen: found.as_ref(), asked: &asked }.in_order(agents)
        }
        Kind::Return => {
            let reason = entry.refusal(kept.at).map(Reason::Hindered);
            agents.into_iter().map(|agent| (agent, reason)).collect()
        }
    };
    let mut shown = RoutingDecision {
        id: kept.id.to_string(),
        kind: match kept.kind {
            Kind::Batch => DecisionKind::Batch.into(),
            Kind::Return => DecisionKind::Return.into(),
        },
        decided_at: Some(to_proto(kept.at)),
        team_id: kept.team.to_string(),
        team_version: kept.team_version,
        assignment_limit: entry.limit().unwrap_or_default(),
        in_hours: entry.is_open(),
        place: place.filter(|_| kept.kind == Kind::Batch).map_or(0, |place| count(place + 1)),
        left_waiting: i32::try_from(entry.left()).unwrap_or(i32::MAX),
        candidate_count: count(entry.looked_at()),
        candidates: shown_candidates(reader, kept.team, (entry.limit(), chosen), candidates),
        chosen_user_id: chosen.map(|user| user.to_string()).unwrap_or_default(),
    };
    let stranger = entry.stranger().filter(|user| (reader.directs)(kept.team) || *user == reader.user);
    shown.candidates.extend(stranger.map(unknown));
    Ok(shown)
}

/// Candidates for this reader: all of them where he directs the team, else himself.
pub fn shown_candidates(
    reader: &Reader,
    team: Uuid,
    (limit, chosen): (Option<i32>, Option<Uuid>),
    candidates: Vec<(Agent, Option<Reason>)>,
) -> Vec<RoutingCandidate> {
    let all = (reader.directs)(team);
    let seen = candidates.into_iter().filter(|(agent, _)| all || agent.user == reader.user);
    seen.map(|(agent, reason)| candidate(limit, &agent, reason, chosen == Some(agent.user))).collect()
}

fn candidate(limit: Option<i32>, agent: &Agent, reason: Option<Reason>, chosen: bool) -> RoutingCandidate {
    RoutingCandidate {
        user_id: agent.user.to_string(),
        passed_over: reason.map_or(PassedOverReason::Unspecified, passed_over).into(),
        text: match reason {
            None if chosen => text("CANDIDATE_CHOSEN", &[]),
            reason => reason_text(limit, reason),
        },
        availability: agent.availability.to_proto().into(),
        open_count: agent.open,
        limit_share: limit.map_or(0.0, |limit| f64::from(agent.open) / f64::from(limit)),
        automatic_count: agent.automatic,
        last_assigned_at: agent.last.map(to_proto),
    }
}

/// Whoever was asked for and was no member.
fn unknown(user: Uuid) -> RoutingCandidate {
    let reason = Reason::Hindered(PassedOver::NotMember);
    RoutingCandidate {
        user_id: user.to_string(),
        passed_over: passed_over(reason).into(),
        text: reason_text(None, Some(reason)),
        availability: Availability::Offline.to_proto().into(),
        ..RoutingCandidate::default()
    }
}

fn reason_text(limit: Option<i32>, reason: Option<Reason>) -> String {
    let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
    text(reason.map_or("CANDIDATE_FREE", Reason::text), &[("limit", limit)])
}

fn passed_over(reason: Reason) -> PassedOverReason {
    match reason {
        Reason::Hindered(PassedOver::Deactivated) => PassedOverReason::Deactivated,
        Reason::Hindered(PassedOver::Offline) => PassedOverReason::Offline,
        Reason::Hindered(PassedOver::Watching) => PassedOverReason::Watching,
        Reason::Hindered(PassedOver::Full) => PassedOverReason::AtLimit,
        Reason::Hindered(PassedOver::NotMember) => PassedOverReason::NotMember,
        Reason::Hindered(PassedOver::OutOfHours) => PassedOverReason::OutOfHours,
        Reason::HigherShare => PassedOverReason::HigherShare,
        Reason::HigherCount => PassedOverReason::HigherCount,
        Reason::LaterAssignment => PassedOverReason::LaterAssignment,
        Reason::LaterId => PassedOverReason::LaterId,
        Reason::DidNotAnswer => PassedOverReason::NoAnswer,
    }
}

/// A number for the protocol.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_has_its_texts() {
        for cause in Cause::ALL.iter().filter(|cause| cause.is_transition()) {
            let key = format!("STEP_{}", cause.name());
            assert!(diwan_fault::has_texts(&key), "{key}");
        }
        let others =
            ["STEP_OVER_LIMIT", "STEP_REFUSED", "STEP_NOT_TAKEN", "ORIGIN_RULE", "ORIGIN_NAMED_RULE", "ORIGIN_MAILBOX"];
        for key in others.into_iter().chain(["ORIGIN_FALLBACK", "CANDIDATE_CHOSEN", "CANDIDATE_FREE"]) {
            assert!(diwan_fault::has_texts(key), "{key}");
        }
    }
}
