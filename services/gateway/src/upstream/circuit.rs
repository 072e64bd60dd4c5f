//! Stops calling a service that does not answer, and tries now and then whether it is back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// So many in a row, and the service counts as dead.
const FAILURES: u32 = 5;
/// Until the next try.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// One call is finding out.
    Probing {
        since: Instant,
    },
}

/// Counts failures in a row. Invariant: while it is open, one call a pause goes through; the lock makes look and change one step.
#[derive(Clone, Debug)]
pub(crate) struct Circuit(Arc<Mutex<State>>);

/// A call that goes through. Dropped without an outcome (its client went away), it says nothing of the service.
#[derive(Debug)]
pub(crate) struct Pass {
    state: Arc<Mutex<State>>,
    probe: bool,
    told: bool,
}

impl Circuit {
    /// Of a service that answers.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Closed { failures: 0 })))
    }

    /// Lets a call through.
    ///
    /// # Errors
    /// How long to wait, while the service is dead.
    pub(crate) fn enter(&self, now: Instant) -> Result<Pass, Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if now < until => return Err(until - now),
            State::Probing { since } if now < since + PAUSE => return Err(since + PAUSE - now),
            // A call that takes its time finds nothing out: the others do not wait for it.
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Probing { since: now };
                true
            }
        };
        Ok(Pass { state: self.0.clone(), probe, told: false })
    }
}

impl Pass {
    /// Whether the service answered, whatever it said.
    pub(crate) fn tell(mut self, answered: bool, now: Instant) {
        self.told = true;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *state, answered) {
            // What was on its way when the circuit opened decides nothing.
            (State::Open { .. }, _) => {}
            (State::Probing { .. }, _) if !self.probe => {}
            (_, true) => *state = State::Closed { failures: 0 },
            (State::Probing { .. }, false) => *state = State::Open { until: now + PAUSE },
            (State::Closed { failures }, false) => {
                *failures += 1;
                if *failures >= FAILURES {
                    *state = State::Open { until: now + PAUSE };
                }
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe && !self.told {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let State::Probing { since } = *state {
                *state = State::Open { until: since + PAUSE };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Circuit {
        let circuit = Circuit::new();
        for _ in 0..FAILURES {
            circuit.enter(now).unwrap().tell(false, now);
        }
        circuit
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_between_them_does_not() {
        let (circuit, now) = (Circuit::new(), Instant::now());
        for round in 0..3 * FAILURES {
            circuit.enter(now).unwrap().tell(round % FAILURES == 0, now);
        }
        assert!(circuit.enter(now).is_ok());
        assert_eq!(opened(now).enter(now).unwrap_err(), PAUSE);
    }

    #[test]
    fn after_the_pause_one_call_finds_out_for_all() {
        let start = Instant::now();
        let (circuit, later) = (opened(start), start + PAUSE);
        let probe = circuit.enter(later).unwrap();
        assert!(circuit.enter(later).is_err(), "one at a time");
        probe.tell(false, later);
        assert_eq!(circuit.enter(later).unwrap_err(), PAUSE);
        circuit.enter(later + PAUSE).unwrap().tell(true, later + PAUSE);
        assert!(circuit.enter(later + PAUSE).is_ok() && circuit.enter(later + PAUSE).is_ok());
    }

    #[test]
    fn a_probe_whose_client_went_away_leaves_the_way_to_another() {
        let start = Instant::now();
        let circuit = opened(start);
        drop(circuit.enter(start + PAUSE).unwrap());
        assert!(circuit.enter(start + PAUSE).is_err());
        assert!(circuit.enter(start + 2 * PAUSE).is_ok());
    }

    #[test]
    fn a_probe_that_takes_its_time_does_not_keep_the_others_waiting() {
        let start = Instant::now();
        let (circuit, later) = (opened(start), start + PAUSE);
        let slow = circuit.enter(later).unwrap();
        assert_eq!(circuit.enter(later + PAUSE / 4).unwrap_err(), PAUSE * 3 / 4);
        circuit.enter(later + PAUSE).unwrap().tell(true, later + PAUSE);
        drop(slow);
        assert!(circuit.enter(later + PAUSE).is_ok() && circuit.enter(later + PAUSE).is_ok());
    }

    #[test]
    fn an_answer_to_an_older_call_does_not_close_it() {
        let start = Instant::now();
        let circuit = Circuit::new();
        let older = circuit.enter(start).unwrap();
        for _ in 0..FAILURES {
            circuit.enter(start).unwrap().tell(false, start);
        }
        older.tell(true, start);
        assert!(circuit.enter(start).is_err());
    }
}
