//! How much one address, one user and one account may ask for. What several gateways do about it: docs/decisions/limits.md.

mod bucket;
#[cfg(test)]
mod cells;
mod streams;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use diwan_access::Caller;
use diwan_runtime::{Env, env::EnvError};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{error::Error, methods::Class};
use bucket::{Buckets, Rate};
pub(crate) use streams::OpenStream;
use streams::{Most, Streams};

/// Buckets in memory, some ten megabytes.
const CAPACITY: usize = 131_072;
const STREAMS_OF_USER: usize = 20;
/// What a gateway keeps of readers who take nothing is a gigabyte at most: for each 64 KiB from a service, and as much towards a client.
const STREAMS: usize = 8192;
/// Which part of all streams one account gets: its admins make as many principals as users, and each has as many streams as one.
const PART_OF_ACCOUNT: usize = 8;

/// Who has limits, in settings and refusals.
const SCOPES: [&str; 3] = ["address", "user", "account"];

/// Whose bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// An IPv4 address, or the /64 that one subscriber has in IPv6.
    Address(IpAddr),
    User(Uuid),
    Account(Uuid),
}

impl Whose {
    fn scope(self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::User(_) => "user",
            Self::Account(_) => "account",
        }
    }
}

/// The limits of this gateway.
#[derive(Debug)]
pub(crate) struct Limits {
    rates: HashMap<(&'static str, Class), Rate>,
    buckets: Buckets<(Whose, Class)>,
    streams: Streams,
}

impl Limits {
    /// From `DIWAN_GATEWAY_LIMIT_<ADDRESS|USER|ACCOUNT>_<READ|WRITE|STREAM>`, `DIWAN_GATEWAY_LIMIT_ADDRESS_SIGN_IN`,
    /// `DIWAN_GATEWAY_STREAMS_PER_USER`, `DIWAN_GATEWAY_STREAMS_PER_ACCOUNT` and `DIWAN_GATEWAY_STREAMS`.
    pub(crate) fn read(env: &Env) -> Result<Self, EnvError> {
        let mut rates = HashMap::new();
        for class in Class::ALL {
            for scope in scopes(class) {
                let name = format!("DIWAN_GATEWAY_LIMIT_{}_{}", scope.to_uppercase(), name(class));
                let rate = env.parse(&name, "calls a second and at once, such as 50/200,", default(scope, class))?;
                rates.insert((*scope, class), rate);
            }
        }
        let in_all: usize = env.parse("DIWAN_GATEWAY_STREAMS", "a number", STREAMS)?;
        let part = in_all.div_ceil(PART_OF_ACCOUNT);
        let most = Most {
            of_user: env.parse("DIWAN_GATEWAY_STREAMS_PER_USER", "a number", STREAMS_OF_USER)?,
            of_account: env.parse("DIWAN_GATEWAY_STREAMS_PER_ACCOUNT", "a number", part)?,
            in_all,
        };
        Ok(Self { rates, buckets: Buckets::new(CAPACITY), streams: Streams::new(most) })
    }

    /// Lets one call through, and for a stream gives what has to live as long as it does.
    ///
    /// # Errors
    /// [`Error::RateLimited`], [`Error::TooManyStreams`], [`Error::TooManyStreamsOfAccount`] and [`Error::TooManyStreamsInAll`].
    pub(crate) fn admit(
        &self,
        class: Class,
        caller: &Caller,
        address: Option<IpAddr>,
    ) -> Result<Option<OpenStream>, Error> {
        let now = Instant::now();
        let from = address.map(|address| Whose::Address(subscriber(address)));
        // A principal is as one user, also when it acts for one: what it asks for takes nothing from people.
        let (account, one) = match caller {
            Caller::User(user) => (user.account_id, user.actor.as_ref().map_or(user.user_id, |mandate| mandate.sub)),
            Caller::Principal(principal) => (principal.account_id, principal.mandate.sub),
            Caller::Nobody | Caller::Service(_) | Caller::Operator(_) => {
                self.take(from, class, now)?;
                return Ok(None);
            }
        };
        // The narrowest first: who is over his own limit takes nothing from those behind his address, and who is over his
        // address' nothing from his colleagues' account.
        self.take(Some(Whose::User(one)), class, now)?;
        self.take(from, class, now)?;
        self.take(Some(Whose::Account(account)), class, now)?;
        if class != Class::Stream {
            return Ok(None);
        }
        self.streams.open(account, one).map(Some)
    }

    fn take(&self, whose: Option<Whose>, class: Class, now: Instant) -> Result<(), Error> {
        let Some(whose) = whose else { return Ok(()) };
        let scope = whose.scope();
        let Some(rate) = self.rates.get(&(scope, class)) else { return Ok(()) };
        let taken = self.buckets.take((whose, class), *rate, now);
        taken.map_err(|retry_after| Error::RateLimited { scope, retry_after })
    }
}

fn name(class: Class) -> &'static str {
    match class {
        Class::SignIn => "SIGN_IN",
        Class::Read => "READ",
        Class::Write => "WRITE",
        Class::Stream => "STREAM",
    }
}

/// Who has a limit for a class: whoever wants in is nobody yet, wherever he comes from.
fn scopes(class: Class) -> &'static [&'static str] {
    if class == Class::SignIn { &SCOPES[..1] } else { &SCOPES }
}

/// An office behind one address is many people; a person is one.
fn default(scope: &str, class: Class) -> Rate {
    match (scope, class) {
        (_, Class::SignIn) => Rate::new(10, 200),
        ("user", Class::Read) => Rate::new(50, 500),
        ("user", Class::Write) => Rate::new(20, 200),
        ("user", Class::Stream) => Rate::new(2, 40),
        (_, Class::Read) => Rate::new(2000, 4000),
        (_, Class::Write) => Rate::new(1000, 2000),
        (_, Class::Stream) => Rate::new(100, 1000),
    }
}

fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use diwan_access::User;
    use diwan_proto::access::v1::Role;

    use super::*;

    fn user(id: u128) -> Caller {
        let (account_id, user_id, session_id) = (Uuid::from_u128(1), Uuid::from_u128(id), Uuid::from_u128(id));
        Caller::User(User { account_id, user_id, session_id, role: Role::User, grants: Vec::new(), actor: None })
    }

    #[test]
    fn who_is_over_his_own_limit_takes_nothing_from_those_behind_his_address() {
        let rates = [("DIWAN_GATEWAY_LIMIT_USER_READ", "1/3"), ("DIWAN_GATEWAY_LIMIT_ADDRESS_READ", "1/6")];
        let limits = Limits::read(&rates.into_iter().fold(Env::default(), |env, (name, rate)| env.with(name, rate)));
        let (limits, office) = (limits.unwrap(), "192.0.2.1".parse().ok());
        let asked = |id| (0..100).filter(|_| limits.admit(Class::Read, &user(id), office).is_ok()).count();
        assert_eq!([asked(1), asked(2), asked(3)], [3, 3, 0]);
    }

    #[test]
    fn a_subscriber_is_one_in_ipv4_and_one_network_in_ipv6() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
