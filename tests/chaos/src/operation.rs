//! What clients do, in random order.

use std::sync::atomic::Ordering;

use diwan_e2e::Failure;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Plan, call::Ended, stage::Stage};

/// What somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Arrive,
    Return,
    WriteAgain,
    Reopen,
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
    Switch,
    ComeOrGo,
    Beat,
    SignOut,
    LeadAssigns,
    LeadCloses,
    LeadSwitches,
    SetLead,
    BotAnswers,
    BotHandsOver,
    BotCloses,
    BotDies,
    BotIsLate,
    SwitchBot,
    Reassign,
    SetLimit,
    SetTeam,
    CloseTeam,
    OpenTeam,
    Join,
    Leave,
    Archive,
    Unarchive,
    Deactivate,
    CreateRule,
    DeleteRule,
    ReorderRules,
}

/// What there is to do, and how often it is done beside the others.
pub(crate) const KINDS: [(Kind, &str, u32); 41] = [
    (Kind::Arrive, "a new customer writes", 1750),
    (Kind::Return, "a customer is back", 300),
    (Kind::WriteAgain, "a customer writes again", 700),
    (Kind::Reopen, "a customer reopens", 250),
    (Kind::Reply, "reply", 800),
    (Kind::Take, "take", 600),
    (Kind::Assign, "assign", 350),
    (Kind::HandOverToPerson, "hand over to a person", 350),
    (Kind::HandOverToTeam, "hand over to a team", 350),
    (Kind::Close, "close", 2400),
    (Kind::Snooze, "snooze", 300),
    (Kind::Unsnooze, "wake by hand", 150),
    (Kind::Prioritize, "priority", 300),
    (Kind::Label, "topics", 300),
    (Kind::Switch, "ACTIVE or WATCHING", 120),
    (Kind::ComeOrGo, "inbox opened or closed", 120),
    (Kind::Beat, "heartbeat", 150),
    (Kind::SignOut, "sign-out and sign-in", 25),
    (Kind::LeadAssigns, "a lead assigns", 150),
    (Kind::LeadCloses, "a lead closes", 150),
    (Kind::LeadSwitches, "a lead sets availability", 50),
    (Kind::SetLead, "lead named or not", 30),
    (Kind::BotAnswers, "the bot answers", 300),
    (Kind::BotHandsOver, "the bot hands over", 250),
    (Kind::BotCloses, "the bot closes", 150),
    (Kind::BotDies, "the bot dies with its claims", 60),
    (Kind::BotIsLate, "a late claim is refused", 60),
    (Kind::SwitchBot, "bot disabled or enabled", 10),
    (Kind::Reassign, "bulk reassignment", 20),
    (Kind::SetLimit, "limit of a team", 50),
    (Kind::SetTeam, "settings of a team", 40),
    (Kind::CloseTeam, "working hours: closed now", 5),
    (Kind::OpenTeam, "working hours: always open", 16),
    (Kind::Join, "joining a team", 30),
    (Kind::Leave, "leaving a team", 20),
    (Kind::Archive, "archive a team", 8),
    (Kind::Unarchive, "un-archive it", 10),
    (Kind::Deactivate, "deactivate and reactivate", 13),
    (Kind::CreateRule, "routing rule made", 12),
    (Kind::DeleteRule, "routing rule deleted", 10),
    (Kind::ReorderRules, "routing rules reordered", 8),
];

impl Kind {
    fn random(random: &mut StdRng) -> (Self, &'static str) {
        let mut left = random.random_range(0..KINDS.iter().map(|(.., weight)| weight).sum());
        for (kind, name, weight) in KINDS {
            if left < weight {
                return (kind, name);
            }
            left -= weight;
        }
        Self::whatever_else()
    }

    /// What is always possible.
    fn whatever_else() -> (Self, &'static str) {
        (KINDS[0].0, KINDS[0].1)
    }
}

/// How an operation ended; `None`: there was nothing to do it with.
pub(crate) type Outcome = Option<Ended<()>>;

/// One client, until so many operations have been done by all. What it chooses follows from the seed and its number.
pub(crate) async fn work(stage: &Stage, plan: &Plan, client: u64) -> Result<(), Failure> {
    let mut random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(client));
    while stage.done.load(Ordering::SeqCst) < plan.operations || stage.kills.load(Ordering::SeqCst) < plan.kills {
        let (mut kind, mut name) = Kind::random(&mut random);
        let mut outcome = perform(stage, kind, &mut random).await?;
        if outcome.is_none() {
            (kind, name) = Kind::whatever_else();
            outcome = perform(stage, kind, &mut random).await?;
        }
        match outcome {
            Some(Ended::Refused(reason)) => stage.tally.ended(name, &reason),
            Some(Ended::Answered(())) => stage.tally.ended(name, DONE),
            None => return Err("a customer can always write".into()),
        }
        stage.done.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// The outcome of what succeeded.
pub(crate) const DONE: &str = "done";

async fn perform(stage: &Stage, kind: Kind, random: &mut StdRng) -> Result<Outcome, Failure> {
    match kind {
        Kind::Arrive => stage.arrive(random).await,
        Kind::Return => stage.come_back(random).await,
        Kind::WriteAgain => stage.write_again(random).await,
        Kind::Reopen => stage.reopen(random).await,
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
        Kind::Beat => stage.beat_once(random).await,
        Kind::SignOut => stage.sign_out(random).await,
        Kind::LeadAssigns => stage.lead_assigns(random).await,
        Kind::LeadCloses => stage.lead_closes(random).await,
        Kind::LeadSwitches => stage.lead_switches(random).await,
        Kind::SetLead => stage.set_lead(random).await,
        Kind::BotAnswers => stage.bot_answers(random).await,
        Kind::BotHandsOver => stage.bot_hands_over(random).await,
        Kind::BotCloses => stage.bot_closes(random).await,
        Kind::BotDies => stage.bot_dies(random).await,
        Kind::BotIsLate => stage.bot_is_late(random).await,
        Kind::SwitchBot => stage.switch_bot(random).await,
        Kind::Reassign => stage.reassign(random).await,
        Kind::SetLimit => stage.set_limit(random).await,
        Kind::SetTeam => stage.set_team(random).await,
        Kind::CloseTeam => stage.set_hours(random, false).await,
        Kind::OpenTeam => stage.set_hours(random, true).await,
        Kind::Join => stage.join_some(random).await,
        Kind::Leave => stage.leave_some(random).await,
        Kind::Archive => stage.archive(random).await,
        Kind::Unarchive => stage.unarchive_some().await,
        Kind::Deactivate => stage.deactivate(random).await,
        Kind::CreateRule => stage.create_rule(random).await,
        Kind::DeleteRule => stage.delete_rule(random).await,
        Kind::ReorderRules => stage.reorder_rules(random).await,
    }
}
