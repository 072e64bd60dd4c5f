//! The calls that anybody may make to get in, which come in rushes: everybody after lunch, or a client that runs wild. However many
//! come at one moment, a bounded number of them is at the services, and none of them is looked at before whatever else is ready.

use std::{collections::HashMap, num::NonZero};

use diwan_runtime::{Env, env::EnvError};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::yield_now,
};

use crate::{
    error::Error,
    methods::{Class, Method, Methods},
};

/// Enough for all cores of any identity, and little beside what each of its replicas lets wait.
const AT_ONCE: NonZero<u16> = NonZero::new(128).unwrap();

/// How many of each method of [`Class::SignIn`] are under way. Invariant: those of one method at the services are never more than the
/// setting says; each holds a permit of its semaphore until the head of its answer is here.
#[derive(Debug)]
pub(crate) struct SignIns {
    /// By the method's index. One for each: who waits for his password to be checked keeps nobody from renewing his session.
    room: HashMap<usize, Semaphore>,
    turn: Semaphore,
}

impl SignIns {
    /// From `DIWAN_GATEWAY_SIGN_INS`.
    pub(crate) fn read(env: &Env, methods: &Methods) -> Result<Self, EnvError> {
        let at_once = env.parse("DIWAN_GATEWAY_SIGN_INS", "a number from 1", AT_ONCE)?;
        Ok(Self::new(at_once, methods))
    }

    fn new(at_once: NonZero<u16>, methods: &Methods) -> Self {
        let bounded = methods.all().filter(|method| method.class == Class::SignIn);
        let room = bounded.map(|method| (method.index, Semaphore::new(at_once.get().into()))).collect();
        Self { room, turn: Semaphore::new(1) }
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
    pub(crate) fn enter(&self, method: &Method) -> Result<Option<SemaphorePermit<'_>>, Error> {
        let Some(room) = self.room.get(&method.index) else { return Ok(None) };
        room.try_acquire().map(Some).map_err(|_| Error::SignInBusy)
    }
}
