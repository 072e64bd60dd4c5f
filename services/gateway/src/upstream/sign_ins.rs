//! The calls that anybody may make to get in, which come in rushes: everybody after lunch, or a client that runs wild. However many
//! come at one moment, a bounded number of them is at the services, and none of them is looked at before whatever else is ready.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use diwan_runtime::{Env, env::EnvError};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::yield_now,
};

use tonic::Code;

use super::line::Line;
use crate::{
    error::{Error, soon},
    methods::{Class, Method, Methods},
};

/// Enough for all cores of any identity, and little beside what each of its replicas lets wait.
const AT_ONCE: NonZero<u16> = NonZero::new(128).unwrap();

/// How many of each method of [`Class::SignIn`] are under way. Invariant: those of one method at the services are never more than the
/// setting says; each holds a permit of its semaphore until the head of its answer is here.
#[derive(Debug)]
pub(crate) struct SignIns {
    /// By the method's index. One for each: who waits for his password to be checked keeps nobody from renewing his session.
    rooms: HashMap<usize, Room>,
    turn: Semaphore,
}

#[derive(Debug)]
struct Room {
    places: Semaphore,
    size: usize,
    line: Mutex<Line>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    room: &'a Room,
    _permit: SemaphorePermit<'a>,
}

impl SignIns {
    /// From `DIWAN_GATEWAY_SIGN_INS`.
    pub(crate) fn read(env: &Env, methods: &Methods) -> Result<Self, EnvError> {
        let at_once = env.parse("DIWAN_GATEWAY_SIGN_INS", "a number from 1", AT_ONCE)?;
        Ok(Self::new(at_once, methods))
    }

    fn new(at_once: NonZero<u16>, methods: &Methods) -> Self {
        let bounded = methods.all().filter(|method| method.class == Class::SignIn);
        let size = usize::from(at_once.get());
        let room = || Room { places: Semaphore::new(size), size, line: Mutex::default() };
        Self { rooms: bounded.map(|method| (method.index, room())).collect(), turn: Semaphore::new(1) }
    }

    /// Waits until one of these calls may be looked at: one after the other, and between two of them whatever else is ready. The runtime
    /// would take a thousand that arrive together before the one call that arrives after them.
    pub(crate) async fn turn(&self, method: &Method) {
        if method.class == Class::SignIn {
            let _turn = self.turn.acquire().await;
            yield_now().await;
        }
    }

    /// Room for one more; `None` where there is no bound.
    ///
    /// # Errors
    /// [`Error::SignInBusy`].
    pub(crate) fn enter(&self, method: &Method) -> Result<Option<Place<'_>>, Error> {
        let Some(room) = self.rooms.get(&method.index) else { return Ok(None) };
        match room.places.try_acquire() {
            Ok(permit) => Ok(Some(Place { room, _permit: permit })),
            Err(_) => Err(Error::SignInBusy(room.line().wait(soon(), Instant::now()))),
        }
    }
}

impl Room {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// The service has answered. Whom it turned away, it has not worked off.
    pub(crate) fn answered(&self, code: Code) {
        if !matches!(code, Code::ResourceExhausted | Code::Unavailable) {
            let busy = self.room.places.available_permits() < self.room.size / 4 * 3;
            self.room.line().worked_off(busy, Instant::now());
        }
    }
}
