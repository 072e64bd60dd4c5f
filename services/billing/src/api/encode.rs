//! Subscriptions and seats as messages.

use diwan_feed::time::to_proto;
use diwan_proto::billing::v1::{self as proto, SubscriptionState};

use crate::domain::{Seat, State, Subscription};

impl From<Subscription> for proto::Subscription {
    fn from(subscription: Subscription) -> Self {
        let state = match subscription.state {
            State::Trial => SubscriptionState::Trial,
        };
        Self {
            account_id: subscription.account.to_string(),
            plan: subscription.plan,
            state: state.into(),
            seats: subscription.seats,
            seats_held: subscription.seats_held,
            trial_ends_at: Some(to_proto(subscription.trial_ends_at)),
        }
    }
}

impl From<Seat> for proto::Seat {
    fn from(seat: Seat) -> Self {
        Self {
            user_id: seat.user.to_string(),
            taken_at: Some(to_proto(seat.taken_at)),
            lease_expires_at: seat.lease_expires_at.map(to_proto),
        }
    }
}
