//! What can go wrong, and how a caller learns of it.

use std::time::Duration;

use diwan_fault::{Code, Fault};

/// How long a client waits before it watches again.
const AGAIN: Duration = Duration::from_millis(200);

/// A refusal or failure of this service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] diwan_store::Error),
    /// There is no such conversation, or the caller may not see it: he cannot tell which.
    #[error("no such conversation")]
    NotFound,
    /// There is no such message.
    #[error("no such message")]
    MessageNotFound,
    /// Only the holder may do that.
    #[error("the caller does not hold the conversation")]
    NotHolder,
    /// It is for whoever directs the work of the team.
    #[error("the caller does not direct the team")]
    NotAllowed,
    /// Somebody else holds it.
    #[error("the conversation is held")]
    AlreadyHeld,
    /// It is closed.
    #[error("the conversation is closed")]
    AlreadyClosed,
    /// The customer cannot be answered.
    #[error("the contact has no address")]
    NoAddress,
    /// Nothing is known of this account.
    #[error("no such account")]
    AccountNotFound,
    /// There is no such user.
    #[error("no such user")]
    UserNotFound,
    /// There is no such team.
    #[error("no such team")]
    TeamNotFound,
    /// There is no such topic.
    #[error("no such topic")]
    TopicNotFound,
    /// There is no such routing rule.
    #[error("no such routing rule")]
    RuleNotFound,
    /// The account has as many rules as it may have.
    #[error("the account has too many routing rules")]
    TooManyRules,
    /// The account's rules are together as large as they may be.
    #[error("the account's routing rules are too large")]
    RulesTooLarge,
    /// The rules to be put in order are not those that there are.
    #[error("the list of routing rules has changed")]
    RulesChanged,
    /// There is no such bot.
    #[error("no such bot")]
    BotNotFound,
    /// The account has as many bots as it may have.
    #[error("the account has too many bots")]
    TooManyBots,
    /// The bot is retired.
    #[error("the bot is retired")]
    BotRetired,
    /// A menu bot is no external one, nor the other way round.
    #[error("the bot is of the other kind")]
    OtherKind,
    /// There is no such service principal, or it is not the account's.
    #[error("no such service principal")]
    PrincipalNotFound,
    /// The conversation is with no bot of the caller any more.
    #[error("the conversation is not with the bot")]
    NotWithBot,
    /// The claim is not the caller's any more.
    #[error("the claim is lost")]
    ClaimLost,
    /// The customer has written since the turn was claimed.
    #[error("the customer has written again")]
    CustomerWrote,
    /// There is no such group.
    #[error("no such contact group")]
    GroupNotFound,
    /// Another group has this name.
    #[error("the contact group's name is taken")]
    GroupNameTaken,
    /// A routing rule asks for the group.
    #[error("a routing rule asks for the contact group")]
    GroupInUse,
    /// The account has as many groups as it may have, or the contact is in as many.
    #[error("there are too many contact groups")]
    TooManyGroups,
    /// There is no such contact.
    #[error("no such contact")]
    ContactNotFound,
    /// There is no such reassignment.
    #[error("no such reassignment")]
    ReassignmentNotFound,
    /// The account has as many reassignments under way as it may have.
    #[error("the account has too many reassignments under way")]
    TooManyReassignments,
    /// Whoever is to get it is deactivated or no member of the team.
    #[error("the receiving person cannot be given it")]
    NotAssignable,
    /// Nobody holds it.
    #[error("nobody holds the conversation")]
    NotHeld,
    /// It is not put off.
    #[error("the conversation is not snoozed")]
    NotSnoozed,
    /// It does not wait in a queue.
    #[error("the conversation is not in a queue")]
    NotQueued,
    /// Its team closes nothing without a topic.
    #[error("the conversation has no topic")]
    TopicRequired,
    /// The topic is archived.
    #[error("the topic is archived")]
    TopicArchived,
    /// The topic would lie below itself.
    #[error("the topic would lie below itself")]
    TopicCycle,
    /// Another topic in use with the same parent has this name.
    #[error("the topic's name is taken")]
    TopicNameTaken,
    /// Availability needs a live session.
    #[error("no live session")]
    NoLiveSession,
    /// The caller's access was cut.
    #[error("the caller is deactivated")]
    Deactivated,
    /// The caller's sign-in has ended.
    #[error("the caller has signed out")]
    SignedOut,
    /// More happened in the period than is replayed at once.
    #[error("too much happened in the period")]
    PeriodTooLarge,
    /// The ledger does not reach back to the beginning of the period.
    #[error("the period is not kept")]
    PeriodNotKept,
    /// As many simulations run in this process as may at a time.
    #[error("too many simulations")]
    TooManySimulations,
    /// A stream cannot go on from this cursor.
    #[error("the cursor is gone")]
    CursorGone,
    /// A stream ends because of us, not of the caller.
    #[error("the stream was interrupted")]
    Interrupted,
    /// A stored value is none that this version knows.
    #[error("the database holds an unknown {0}")]
    Unknown(&'static str),
    /// An event of another service cannot be read.
    #[error("an event cannot be read")]
    Event(#[from] prost::DecodeError),
}

impl Error {
    /// Code and reason of each refusal.
    fn refusal(&self) -> Option<(Code, &'static str)> {
        Some(match self {
            Self::NotFound => (Code::NotFound, "CONVERSATION_NOT_FOUND"),
            Self::MessageNotFound => (Code::NotFound, "MESSAGE_NOT_FOUND"),
            Self::NotHolder => (Code::FailedPrecondition, "NOT_HOLDER"),
            Self::NotAllowed => (Code::PermissionDenied, "PERMISSION_DENIED"),
            Self::AlreadyHeld => (Code::FailedPrecondition, "ALREADY_HELD"),
            Self::AlreadyClosed => (Code::FailedPrecondition, "ALREADY_CLOSED"),
            Self::NoAddress => (Code::FailedPrecondition, "NO_ADDRESS"),
            Self::AccountNotFound => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
            Self::UserNotFound => (Code::NotFound, "USER_NOT_FOUND"),
            Self::TeamNotFound => (Code::NotFound, "TEAM_NOT_FOUND"),
            Self::TopicNotFound => (Code::NotFound, "TOPIC_NOT_FOUND"),
            Self::RuleNotFound => (Code::NotFound, "RULE_NOT_FOUND"),
            Self::TooManyRules => (Code::FailedPrecondition, "TOO_MANY_RULES"),
            Self::RulesTooLarge => (Code::FailedPrecondition, "RULES_TOO_LARGE"),
            Self::RulesChanged => (Code::FailedPrecondition, "RULES_CHANGED"),
            Self::ContactNotFound => (Code::NotFound, "CONTACT_NOT_FOUND"),
            Self::BotNotFound => (Code::NotFound, "BOT_NOT_FOUND"),
            Self::TooManyBots => (Code::FailedPrecondition, "TOO_MANY_BOTS"),
            Self::BotRetired => (Code::FailedPrecondition, "BOT_RETIRED"),
            Self::OtherKind => (Code::FailedPrecondition, "OTHER_KIND"),
            Self::PrincipalNotFound => (Code::NotFound, "PRINCIPAL_NOT_FOUND"),
            Self::NotWithBot => (Code::FailedPrecondition, "NOT_WITH_BOT"),
            Self::ClaimLost => (Code::FailedPrecondition, "CLAIM_LOST"),
            Self::CustomerWrote => (Code::FailedPrecondition, "CUSTOMER_WROTE"),
            Self::GroupNotFound => (Code::NotFound, "GROUP_NOT_FOUND"),
            Self::GroupNameTaken => (Code::AlreadyExists, "GROUP_NAME_TAKEN"),
            Self::GroupInUse => (Code::FailedPrecondition, "GROUP_IN_USE"),
            Self::TooManyGroups => (Code::FailedPrecondition, "TOO_MANY_GROUPS"),
            Self::ReassignmentNotFound => (Code::NotFound, "REASSIGNMENT_NOT_FOUND"),
            Self::TooManyReassignments => (Code::FailedPrecondition, "TOO_MANY_REASSIGNMENTS"),
            Self::NotAssignable => (Code::FailedPrecondition, "NOT_ASSIGNABLE"),
            Self::NotHeld => (Code::FailedPrecondition, "NOT_HELD"),
            Self::NotSnoozed => (Code::FailedPrecondition, "NOT_SNOOZED"),
            Self::NotQueued => (Code::FailedPrecondition, "NOT_QUEUED"),
            Self::TopicRequired => (Code::FailedPrecondition, "TOPIC_REQUIRED"),
            Self::TopicArchived => (Code::FailedPrecondition, "TOPIC_ARCHIVED"),
            Self::TopicCycle => (Code::FailedPrecondition, "TOPIC_CYCLE"),
            Self::TopicNameTaken => (Code::AlreadyExists, "TOPIC_NAME_TAKEN"),
            Self::NoLiveSession => (Code::FailedPrecondition, "NO_LIVE_SESSION"),
            Self::Deactivated | Self::SignedOut => (Code::Unauthenticated, "UNAUTHENTICATED"),
            Self::PeriodTooLarge => (Code::FailedPrecondition, "PERIOD_TOO_LARGE"),
            Self::PeriodNotKept => (Code::FailedPrecondition, "PERIOD_NOT_KEPT"),
            Self::TooManySimulations => (Code::ResourceExhausted, "TOO_MANY_SIMULATIONS"),
            Self::CursorGone => (Code::OutOfRange, "CURSOR_GONE"),
            Self::Store(_) | Self::Interrupted | Self::Unknown(_) | Self::Event(_) => return None,
        })
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match (error.refusal(), error) {
            (Some((code, reason)), _) => Self::new(code, reason),
            (None, Error::Store(error)) => error.into(),
            (None, Error::Interrupted) => Self::new(Code::Unavailable, "UNAVAILABLE").retry_after(AGAIN),
            (None, error) => Self::internal(error),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Fault::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_texts() {
        let refusals = [
            Error::NotFound,
            Error::MessageNotFound,
            Error::NotHolder,
            Error::AlreadyHeld,
            Error::AlreadyClosed,
            Error::NoAddress,
            Error::AccountNotFound,
            Error::UserNotFound,
            Error::TeamNotFound,
            Error::TopicNotFound,
            Error::RuleNotFound,
            Error::TooManyRules,
            Error::RulesTooLarge,
            Error::RulesChanged,
            Error::ContactNotFound,
            Error::BotNotFound,
            Error::TooManyBots,
            Error::BotRetired,
            Error::OtherKind,
            Error::PrincipalNotFound,
            Error::NotWithBot,
            Error::ClaimLost,
            Error::CustomerWrote,
            Error::GroupNotFound,
            Error::GroupNameTaken,
            Error::GroupInUse,
            Error::TooManyGroups,
            Error::ReassignmentNotFound,
            Error::TooManyReassignments,
            Error::NotAssignable,
            Error::NotHeld,
            Error::NotSnoozed,
            Error::NotQueued,
            Error::TopicRequired,
            Error::TopicArchived,
            Error::TopicCycle,
            Error::TopicNameTaken,
            Error::NoLiveSession,
            Error::Deactivated,
            Error::PeriodTooLarge,
            Error::PeriodNotKept,
            Error::TooManySimulations,
            Error::CursorGone,
        ];
        for error in refusals {
            let (_, reason) = error.refusal().unwrap();
            assert!(diwan_fault::has_texts(reason), "{reason}");
        }
    }
}
