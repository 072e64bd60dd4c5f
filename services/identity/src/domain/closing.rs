//! How an account ends.

use std::time::Duration;

use diwan_proto::{access::v1::Role, identity::v1::AccountState};
use diwan_runtime::clock::after;
use jiff::Timestamp;

use super::Account;

/// The owner is reminded so long before the end, or half-way where the grace period is short.
const NOTICE: Duration = Duration::from_hours(7 * 24);

impl Account {
    /// The account that its owner begins to close now, with the time at which he is reminded; `None` where it is not open.
    pub fn closing(&self, now: Timestamp, grace: Duration) -> Option<(Self, Timestamp)> {
        let closes_at = after(now, grace);
        let remind_at = after(now, grace.saturating_sub(NOTICE).max(grace / 2));
        let closing = || self.turned(AccountState::Closing, Some(closes_at));
        (self.state == AccountState::Active).then(|| (closing(), remind_at))
    }

    /// The account whose owner keeps it; `None` where it is not closing.
    pub fn kept(&self) -> Option<Self> {
        (self.state == AccountState::Closing).then(|| self.turned(AccountState::Active, None))
    }

    /// The account at the end of its grace period; `None` before it.
    pub fn closed(&self, now: Timestamp) -> Option<Self> {
        let is_over = self.state == AccountState::Closing && self.closes_at.is_some_and(|closes_at| closes_at <= now);
        is_over.then(|| self.turned(AccountState::Closed, None))
    }

    /// Whether somebody of this role may sign in, as far as the account goes.
    pub fn lets_in(&self, role: Role) -> bool {
        match self.state {
            AccountState::Active => true,
            AccountState::Closing => role == Role::Owner,
            AccountState::Closed | AccountState::Unspecified => false,
        }
    }

    fn turned(&self, state: AccountState, closes_at: Option<Timestamp>) -> Self {
        Self { state, closes_at, version: self.version + 1, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use diwan_fault::Language;
    use uuid::Uuid;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn account() -> Account {
        Account {
            id: Uuid::from_u128(1),
            name: "Nour".into(),
            time_zone: "UTC".into(),
            language: Language::Ar,
            show_agent_name: false,
            email_confirmed: true,
            version: 3,
            created_at: Timestamp::UNIX_EPOCH,
            state: AccountState::Active,
            closes_at: None,
        }
    }

    fn day(number: u32) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, DAY * number)
    }

    #[test]
    fn an_account_goes_from_open_to_closing_to_closed_and_back_only_before_the_end() {
        let open = account();
        assert!(open.kept().is_none() && open.closed(day(99)).is_none());
        let (closing, remind_at) = open.closing(day(1), DAY * 30).unwrap();
        assert_eq!((closing.state, closing.closes_at, closing.version), (AccountState::Closing, Some(day(31)), 4));
        assert_eq!(remind_at, day(24));
        assert!(closing.closing(day(2), DAY * 30).is_none(), "closing again does not put the end off");
        assert!(closing.closed(day(30)).is_none());
        let closed = closing.closed(day(31)).unwrap();
        assert_eq!((closed.state, closed.closes_at), (AccountState::Closed, None));
        assert!(closed.kept().is_none() && closed.closing(day(40), DAY).is_none());
        assert_eq!(closing.kept().unwrap().state, AccountState::Active);
    }

    #[test]
    fn who_has_little_time_is_reminded_half_way() {
        assert_eq!(account().closing(day(0), DAY * 10).unwrap().1, day(5));
        assert_eq!(account().closing(day(0), DAY * 14).unwrap().1, day(7));
        assert_eq!(account().closing(day(0), DAY * 20).unwrap().1, day(13));
    }

    #[test]
    fn only_the_owner_gets_into_a_closing_account_and_nobody_into_a_closed_one() {
        let closing = account().closing(day(0), DAY).unwrap().0;
        let closed = closing.closed(day(2)).unwrap();
        for role in [Role::Owner, Role::Admin, Role::User] {
            assert!(account().lets_in(role));
            assert_eq!(closing.lets_in(role), role == Role::Owner);
            assert!(!closed.lets_in(role));
        }
    }
}
