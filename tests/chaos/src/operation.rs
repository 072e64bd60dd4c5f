//! What clients do, in random order.

use std::sync::atomic::Ordering;

use diwan_e2e::Failure;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Plan, call::Ended, stage::Stage};

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new customer writes.
    Arrive,
    /// A customer writes about something else.
    Return,
    /// A customer writes again: what is closed reopens, what is put off wakes.
    WriteAgain,
    Reply,
    Take,
    Assign,
    HandOverToPerson,
    HandOverToTeam,
    Close,
    Snooze,
    Unsnooze,
    Prioritize,
    Label,
    /// ACTIVE or WATCHING.
    Switch,
    /// An inbox is opened or closed.
    ComeOrGo,
    Reassign,
    SetLimit,
    SetTeam,
    SetHours,
    JoinOrLeave,
    Archive,
    Deactivate,
    ChangeRules,
}

/// How often each happens, in ten thousand.
const WEIGHTS: [(Kind, u32); 23] = [
    (Kind::Arrive, 1900),
    (Kind::Return, 300),
    (Kind::WriteAgain, 900),
    (Kind::Reply, 800),
    (Kind::Take, 700),
    (Kind::Assign, 450),
    (Kind::HandOverToPerson, 350),
    (Kind::HandOverToTeam, 450),
    (Kind::Close, 2500),
    (Kind::Snooze, 350),
    (Kind::Unsnooze, 150),
    (Kind::Prioritize, 350),
    (Kind::Label, 350),
    (Kind::Switch, 120),
    (Kind::ComeOrGo, 120),
    (Kind::Reassign, 20),
    (Kind::SetLimit, 50),
    (Kind::SetTeam, 20),
    (Kind::SetHours, 20),
    (Kind::JoinOrLeave, 50),
    (Kind::Archive, 12),
    (Kind::Deactivate, 13),
    (Kind::ChangeRules, 25),
];

impl Kind {
    fn random(random: &mut StdRng) -> Self {
        let mut left = random.random_range(0..WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in WEIGHTS {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        Self::Arrive
    }

    fn name(self) -> &'static str {
        match self {
            Self::Arrive => "a new customer writes",
            Self::Return => "a customer is back",
            Self::WriteAgain => "a customer writes again",
            Self::Reply => "reply",
            Self::Take => "take",
            Self::Assign => "assign",
            Self::HandOverToPerson => "hand over to a person",
            Self::HandOverToTeam => "hand over to a team",
            Self::Close => "close",
            Self::Snooze => "snooze",
            Self::Unsnooze => "wake by hand",
            Self::Prioritize => "priority",
            Self::Label => "topics",
            Self::Switch => "ACTIVE or WATCHING",
            Self::ComeOrGo => "inbox opened or closed",
            Self::Reassign => "bulk reassignment",
            Self::SetLimit => "limit of a team",
            Self::SetTeam => "settings of a team",
            Self::SetHours => "working hours",
            Self::JoinOrLeave => "joining or leaving a team",
            Self::Archive => "archive or un-archive",
            Self::Deactivate => "deactivate and reactivate",
            Self::ChangeRules => "routing rules",
        }
    }
}

/// How an operation ended; `None`: there was nothing to do it with.
pub(crate) type Outcome = Option<Ended<()>>;

/// One client, until so many operations have been done by all. What it chooses follows from the seed and its number.
pub(crate) async fn work(stage: &Stage, plan: &Plan, client: u64) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(client));
    while stage.done.load(Ordering::SeqCst) < plan.operations || stage.kills.load(Ordering::SeqCst) < plan.kills {
        let mut kind = Kind::random(&mut random);
        let mut outcome = perform(stage, kind, &mut random).await?;
        if outcome.is_none() {
            kind = Kind::Arrive;
            outcome = perform(stage, kind, &mut random).await?;
        }
        match outcome {
            Some(Ended::Refused(reason)) => stage.tally.ended(kind.name(), &reason),
            Some(Ended::Answered(())) => stage.tally.ended(kind.name(), "done"),
            None => return Err("a customer can always write".into()),
        }
        stage.done.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

async fn perform(stage: &Stage, kind: Kind, random: &mut StdRng) -> Result<Outcome, Failure> {
    match kind {
        Kind::Arrive => stage.arrive(random).await,
        Kind::Return => stage.come_back(random).await,
        Kind::WriteAgain => stage.write_again(random).await,
        Kind::Reply => stage.reply(random).await,
        Kind::Take => stage.take(random).await,
        Kind::Assign => stage.assign(random).await,
        Kind::HandOverToPerson => stage.hand_over(random, true).await,
        Kind::HandOverToTeam => stage.hand_over(random, false).await,
        Kind::Close => stage.close(random).await,
        Kind::Snooze => stage.snooze(random).await,
        Kind::Unsnooze => stage.unsnooze(random).await,
        Kind::Prioritize => stage.prioritize(random).await,
        Kind::Label => stage.label(random).await,
        Kind::Switch => stage.switch(random).await,
        Kind::ComeOrGo => Ok(stage.come_or_go(random)),
        Kind::Reassign => stage.reassign(random).await,
        Kind::SetLimit => stage.set_limit(random).await,
        Kind::SetTeam => stage.set_team(random).await,
        Kind::SetHours => stage.set_hours(random).await,
        Kind::JoinOrLeave => stage.join_or_leave(random).await,
        Kind::Archive => stage.archive(random).await,
        Kind::Deactivate => stage.deactivate(random).await,
        Kind::ChangeRules => stage.change_rules(random).await,
    }
}
