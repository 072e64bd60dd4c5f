//! How many calls a service is given at once: as many as it answers about as fast as when it has little to do.
//!
//! A gradient (as in Netflix' concurrency-limits): each answer is set against what its method takes at rest; while answers
//! take [`TOLERANCE`] times as long, the limit shrinks, else it grows. Latencies of different methods never mix.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_runtime::{Env, env::EnvError};
use tokio::time::Instant;

use crate::methods::{Class, Method};

/// Answers that take so many times what they take at rest mean that the service queues.
const TOLERANCE: f64 = 4.0;
/// Faster answers all count alike: below it, noise of the machine would decide. Seconds.
const NOISE: f64 = 0.005;
/// One answer counts at most so much, so that a single slow one decides nothing.
const WORST: f64 = 16.0;
/// The limit is looked at after so many answers.
const WINDOW: u32 = 32;
/// What a method takes at rest follows a faster answer quickly, and slower ones by so much a second: a service that has
/// become slower for good is known for it after minutes, one in trouble is not.
const FASTER: f64 = 0.1;
const SLOWER_A_SECOND: f64 = 0.01;

/// Between which limits it moves; it begins in the middle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    least: f64,
    most: f64,
}

impl Bounds {
    /// From `DIWAN_GATEWAY_CONCURRENCY_LEAST` and `DIWAN_GATEWAY_CONCURRENCY_MOST`.
    pub(crate) fn read(env: &Env) -> Result<Self, EnvError> {
        let least: u32 = env.parse("DIWAN_GATEWAY_CONCURRENCY_LEAST", "a number", 32)?;
        let most: u32 = env.parse("DIWAN_GATEWAY_CONCURRENCY_MOST", "a number", 1024)?;
        Ok(Self { least: f64::from(least.max(1)), most: f64::from(most.max(least).max(1)) })
    }
}

/// The share of the limit that work of a class and all that is less important may fill, and the share that is kept for the
/// class even when a shrinking limit finds more than that under way. A read is asked for again without harm, a write is
/// somebody's work, and without sign-in nobody gets in at all.
fn shares(class: Class) -> (f64, f64) {
    match class {
        Class::Read => (0.7, 0.0),
        Class::Write | Class::Stream => (0.85, 0.15),
        Class::SignIn => (1.0, 0.15),
    }
}

/// The limit of one service. Invariant: `in_flight` counts the living permits of each class; the lock makes look and count
/// one step.
#[derive(Clone, Debug)]
pub(crate) struct Concurrency(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bounds: Bounds,
    limit: f64,
    in_flight: HashMap<Class, u32>,
    /// By the method's index; `None` before its first answer.
    at_rest: Vec<Option<AtRest>>,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
struct AtRest {
    seconds: f64,
    since: Instant,
}

#[derive(Debug, Default)]
struct Window {
    answers: u32,
    slowness: f64,
    busiest: u32,
}

/// One call on its way.
#[derive(Debug)]
pub(crate) struct Permit {
    state: Arc<Mutex<State>>,
    method: usize,
    class: Class,
    begun: Instant,
    answered: bool,
}

impl Concurrency {
    /// Of a service that nothing is known of, for `methods` methods.
    pub(crate) fn new(bounds: Bounds, methods: usize) -> Self {
        let limit = f64::midpoint(bounds.least, bounds.most);
        let (at_rest, window) = (vec![None; methods], Window::default());
        Self(Arc::new(Mutex::new(State { bounds, limit, in_flight: HashMap::new(), at_rest, window })))
    }

    /// Room for one call, or `None` while the service is busy with what is more important or was there before.
    pub(crate) fn enter(&self, method: &Method, now: Instant) -> Option<Permit> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.has_room(method.class).then(|| {
            *state.in_flight.entry(method.class).or_default() += 1;
            state.window.busiest = state.window.busiest.max(state.all_in_flight());
            Permit { state: self.0.clone(), method: method.index, class: method.class, begun: now, answered: false }
        })
    }

    #[cfg(test)]
    fn limit(&self) -> f64 {
        self.0.lock().unwrap().limit
    }
}

impl Permit {
    /// The head of the answer is here, and it is no refusal: those come fast and say nothing.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = state.in_flight.get_mut(&self.class) {
            *count = count.saturating_sub(1);
        }
        // How long until a stream begins says nothing of how busy a service is, nor how long a password waits in its line: a rush would
        // shut out everybody's reads. Sign-ins have a bound of their own, see `SignIns`.
        if !matches!(self.class, Class::Stream | Class::SignIn) {
            state.learn(self.method, self.begun, Instant::now(), self.answered);
        }
    }
}

impl State {
    fn has_room(&self, class: Class) -> bool {
        let (share, kept) = shares(class);
        let own = self.in_flight.get(&class).copied().unwrap_or_default();
        f64::from(self.all_in_flight()) < (self.limit * share).max(1.0) || f64::from(own) < self.limit * kept
    }

    fn all_in_flight(&self) -> u32 {
        self.in_flight.values().sum()
    }

    fn learn(&mut self, method: usize, begun: Instant, now: Instant, answered: bool) {
        let took = now.saturating_duration_since(begun).as_secs_f64();
        let Some(at_rest) = self.at_rest.get_mut(method) else { return };
        if at_rest.is_none() && answered {
            *at_rest = Some(AtRest { seconds: took, since: now });
        }
        let Some(known) = at_rest else { return };
        // Who gave up after longer than an answer takes has seen a slow service; who gave up before has seen nothing.
        if !answered && took <= known.seconds {
            return;
        }
        let slowness = took.max(NOISE) / known.seconds.max(NOISE);
        if answered {
            known.follow(took, now);
        }
        self.window.answers += 1;
        self.window.slowness += slowness.min(WORST);
        if self.window.answers >= WINDOW {
            self.adjust();
        }
    }

    fn adjust(&mut self) {
        let window = std::mem::take(&mut self.window);
        let gradient = (TOLERANCE * f64::from(window.answers) / window.slowness).clamp(0.5, 1.0);
        // A limit that was not reached has not been tried.
        let tried = f64::from(window.busiest) * 2.0 > self.limit;
        let growth = if gradient >= 1.0 && tried { self.limit.sqrt() } else { 0.0 };
        self.limit = (self.limit * gradient + growth).clamp(self.bounds.least, self.bounds.most);
        self.window.busiest = self.all_in_flight();
    }
}

impl AtRest {
    fn follow(&mut self, took: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.since).min(Duration::from_secs(10)).as_secs_f64();
        self.since = now;
        self.seconds = if took < self.seconds {
            self.seconds + (took - self.seconds) * FASTER
        } else {
            took.min(self.seconds * (1.0 + SLOWER_A_SECOND * passed))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Method = Method { index: 0, class: Class::Read, repeatable: true, one_request: true };

    fn limiter(least: f64, most: f64) -> Concurrency {
        Concurrency::new(Bounds { least, most }, 2)
    }

    fn learn(limiter: &Concurrency, times: u32, took: Duration, answered: bool) {
        let (begun, mut state) = (Instant::now(), limiter.0.lock().unwrap());
        for _ in 0..times {
            state.window.busiest = u32::MAX;
            state.learn(0, begun, begun + took, answered);
        }
    }

    #[test]
    fn the_least_important_is_turned_away_first_and_sign_in_last() {
        let limiter = limiter(100.0, 100.0);
        let fill = |class| {
            let now = Instant::now();
            std::iter::from_fn(|| limiter.enter(&Method { class, ..READ }, now)).collect::<Vec<_>>()
        };
        let permits = [Class::Read, Class::Write, Class::SignIn].map(fill);
        assert_eq!(permits.each_ref().map(Vec::len), [70, 15, 15]);
        drop(permits);
        assert_eq!(fill(Class::Stream).len(), 85);
    }

    #[test]
    fn what_is_under_way_when_the_limit_shrinks_does_not_keep_sign_in_out() {
        let limiter = limiter(10.0, 190.0);
        let now = Instant::now();
        let reads: Vec<_> = std::iter::from_fn(|| limiter.enter(&READ, now)).collect();
        limiter.0.lock().unwrap().limit = 20.0;
        let sign_ins: Vec<_> =
            std::iter::from_fn(|| limiter.enter(&Method { class: Class::SignIn, ..READ }, now)).collect();
        assert_eq!((reads.len(), sign_ins.len()), (70, 3));
        assert!(limiter.enter(&READ, now).is_none());
    }

    #[test]
    fn slow_answers_shrink_the_limit_and_fast_ones_let_it_grow_again() {
        let limiter = limiter(8.0, 1000.0);
        learn(&limiter, 100, Duration::from_millis(20), true);
        let before = limiter.limit();
        learn(&limiter, 500, Duration::from_secs(1), true);
        let shrunk = limiter.limit();
        assert!(shrunk < before / 20.0, "{before} -> {shrunk}");
        learn(&limiter, 2000, Duration::from_millis(20), true);
        assert!(limiter.limit() > 4.0 * shrunk, "{shrunk} -> {}", limiter.limit());
        assert!(limiter.limit() <= 1000.0);
    }

    #[test]
    fn a_service_that_hangs_is_noticed_by_those_who_give_up_and_hasty_clients_change_nothing() {
        let limiter = limiter(8.0, 1000.0);
        learn(&limiter, 100, Duration::from_millis(20), true);
        let before = limiter.limit();
        learn(&limiter, 10_000, Duration::from_micros(1), false);
        assert!((limiter.limit() - before).abs() < f64::EPSILON);
        learn(&limiter, 500, Duration::from_secs(5), false);
        assert!(limiter.limit() < before / 20.0);
    }

    #[test]
    fn how_long_sign_ins_wait_in_their_line_takes_nothing_from_others() {
        let limiter = limiter(8.0, 1000.0);
        let (before, method) = (limiter.limit(), Method { class: Class::SignIn, ..READ });
        let now = Instant::now();
        limiter.enter(&method, now).unwrap().answered();
        for _ in 0..500 {
            limiter.enter(&method, now.checked_sub(Duration::from_secs(2)).unwrap()).unwrap().answered();
        }
        assert!((limiter.limit() - before).abs() < f64::EPSILON, "{before} -> {}", limiter.limit());
    }

    #[test]
    fn a_method_that_is_always_slow_is_not_taken_for_trouble() {
        let limiter = limiter(8.0, 1000.0);
        let before = limiter.limit();
        let (begun, mut state) = (Instant::now(), limiter.0.lock().unwrap());
        for _ in 0..500 {
            state.learn(0, begun, begun + Duration::from_millis(2), true);
            state.learn(1, begun, begun + Duration::from_millis(400), true);
        }
        assert!(state.limit >= before);
    }
}
