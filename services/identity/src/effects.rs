//! What a change causes in other services. A transaction cannot reach over there, so it leaves a job in the queue; the handler
//! runs the job right after the commit, so that its caller finds it done, and a worker finishes what a crash or a service out
//! of reach has left. When the handler's own try fails, the call succeeds all the same: the change has happened, and its
//! effects will.

use std::{sync::Arc, time::Duration};

use diwan_blobs::Blobs;
use diwan_proto::identity::v1::{AccountState, UserState};
use diwan_runtime::{Clock, backoff::delay_after, clock::after, worker::chain};
use diwan_store::Database;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    data::PICTURES,
    domain::Seat,
    error::Error,
    mail::Courier,
    peers::Peers,
    store::{
        accounts, invitations,
        jobs::{self, Effect, Job},
        profiles, users,
    },
    whatsapp::Sender,
};

/// Longer than any effect takes: whoever has taken a job has finished it by then, or is gone.
pub const LEASE: Duration = Duration::from_mins(1);
/// A seat outlives its invitation by so much, so that whoever accepts at the last moment keeps it.
const GRACE: Duration = Duration::from_hours(1);
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_mins(5);
/// A mail server that refuses is not asked as often as a service of ours.
const LONGEST_MAIL_DELAY: Duration = Duration::from_hours(1);
/// How many seats of a closed account are freed between two looks.
const SEATS_AT_ONCE: i64 = 200;
/// How often a seat is adjusted to a state that changes meanwhile.
const ROUNDS: usize = 3;

/// Brings about what jobs say.
#[derive(Clone)]
pub struct Effects {
    /// Where the queue is.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The other services.
    pub peers: Peers,
    /// Sends e-mails.
    pub courier: Arc<Courier>,
    /// Keeps pictures.
    pub blobs: Blobs,
    /// Sends messages by WhatsApp.
    pub sender: Arc<dyn Sender>,
}

impl Effects {
    /// Queues a job that its handler will run itself: workers leave it alone for as long as that may take.
    pub async fn queue(&self, tx: &mut PgConnection, job: &Job) -> Result<(), Error> {
        let now = self.clock.now();
        jobs::insert(tx, job, after(now, LEASE), now).await
    }

    /// Queues a job for the workers; [`Effects::wake`] them after the commit.
    pub async fn leave(&self, tx: &mut PgConnection, job: &Job) -> Result<(), Error> {
        let now = self.clock.now();
        jobs::insert(tx, job, now, now).await
    }

    /// Wakes a worker here, or in another replica.
    pub fn wake(&self) {
        self.database.wake().ring(crate::worker::JOBS);
    }

    /// Runs a job and takes it out of the queue; a failure puts it off. Running one that is no longer there does no harm.
    pub async fn run(&self, job: &Job) {
        let settled = match self.bring_about(job).await {
            Ok(()) => self.finish(job).await,
            Err(error) => self.postpone(job, &error).await,
        };
        if let Err(error) = settled {
            // Its lease ends, and it is run again.
            tracing::warn!(job = %job.id, error = chain(&error), "a job could not be put away");
        }
    }

    /// Takes a job out of the queue.
    pub async fn finish(&self, job: &Job) -> Result<(), Error> {
        jobs::finish(&mut *self.database.pool().acquire().await?, job).await
    }

    async fn postpone(&self, job: &Job, error: &Error) -> Result<(), Error> {
        let failures = u32::try_from(job.attempts).unwrap_or_default().saturating_sub(1);
        let longest = match job.effect {
            Effect::SendInvitation { .. }
            | Effect::SendEmailConfirmation
            | Effect::SendOwnershipOffer { .. }
            | Effect::SendClosing { .. }
            | Effect::SendExportReady { .. } => LONGEST_MAIL_DELAY,
            _ => LONGEST_DELAY,
        };
        let next = after(self.clock.now(), delay_after(failures, FIRST_DELAY, longest).max(error.retry_after()));
        let error = chain(error);
        tracing::warn!(account = %job.account_id, effect = ?job.effect, error, "an effect failed and is tried again");
        jobs::postpone(&mut *self.database.pool().acquire().await?, job, next, &error).await?;
        self.wake();
        Ok(())
    }

    async fn bring_about(&self, job: &Job) -> Result<(), Error> {
        let account = job.account_id;
        match &job.effect {
            Effect::ProvisionAccount { owner_id, language } => {
                let trial = self.peers.start_trial(account, *owner_id);
                let team = self.peers.create_fallback_team(account, *owner_id, language);
                let (trial, team) = futures::join!(trial, team);
                trial.and(team)
            }
            Effect::JoinTeams { user_id, team_ids } => self.peers.join_teams(account, *user_id, team_ids).await,
            Effect::SettleSeat { user_id } => self.settle_seat(account, *user_id).await,
            Effect::SendPasswordReset { email, good_until } => {
                self.courier.reset_password(&self.database, email, *good_until, job.id).await
            }
            Effect::SendNumberCode { user_id, confirmation_id } => {
                self.send_number_code(job, *user_id, *confirmation_id).await
            }
            Effect::SendSignInCode { user_id, challenge_id, good_until } => {
                self.send_sign_in_code(job, *user_id, *challenge_id, *good_until).await
            }
            Effect::SendAlert { user_id, alert, at, way } => self.send_alert(job, *user_id, alert, *at, *way).await,
            Effect::RecoverFactors { user_id, recovery_id } => {
                self.recover_factors(account, *user_id, *recovery_id).await
            }
            Effect::SendInvitation { user_id } => self.courier.invite(&self.database, account, *user_id, job.id).await,
            Effect::SendEmailConfirmation => self.courier.ask_to_confirm(&self.database, account, job.id).await,
            Effect::SendOwnershipOffer { user_id } => {
                self.courier.offer_ownership(&self.database, account, *user_id, job.id).await
            }
            Effect::SendClosing { stage } => {
                self.courier.tell_of_closing(&self.database, account, *stage, job.id).await
            }
            Effect::SendExportReady { export_id } => {
                self.courier.tell_of_export(&self.database, account, *export_id, job.id).await
            }
            Effect::DropPicture { picture_id } => self.drop_picture(account, *picture_id).await,
            Effect::ReleaseSeats => self.release_seats(account).await,
        }
    }

    /// Two jobs for one user may run in any order, and a call may be slower than a later one. So each looks at the user
    /// again after its call: whoever comes last has seen the last state, and left the seat as that asks for.
    async fn settle_seat(&self, account: Uuid, user: Uuid) -> Result<(), Error> {
        let mut due = self.seat_due(account, user).await?;
        for _ in 0..ROUNDS {
            match due {
                Seat::Kept => self.peers.take_seat(account, user, None).await?,
                Seat::Leased(until) => self.peers.take_seat(account, user, Some(until)).await?,
                Seat::Free => self.peers.release_seat(account, user).await?,
            }
            let still_due = self.seat_due(account, user).await?;
            if still_due == due {
                return Ok(());
            }
            due = still_due;
        }
        Err(Error::Unsettled)
    }

    /// Page by page, since an account may have thousands of users; begun anew after a crash.
    async fn release_seats(&self, account: Uuid) -> Result<(), Error> {
        let mut after = None;
        loop {
            let mut connection = self.database.pool().acquire().await?;
            let page = users::list(&mut connection, account, None, after.as_ref(), SEATS_AT_ONCE).await?;
            drop(connection);
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.created_at, last.id));
            for user in &page {
                self.peers.release_seat(account, user.id).await?;
            }
        }
    }

    async fn drop_picture(&self, account: Uuid, picture: Uuid) -> Result<(), Error> {
        if profiles::is_shown(&mut *self.database.pool().acquire().await?, account, picture).await? {
            return Ok(());
        }
        let place = self.blobs.of(PICTURES).of(&account.to_string()).of(&picture.to_string());
        place.clear().await.map_err(Error::Blob)
    }

    async fn seat_due(&self, account: Uuid, id: Uuid) -> Result<Seat, Error> {
        let mut connection = self.database.pool().acquire().await?;
        let state = users::find(&mut connection, account, id).await?.map(|user| user.state);
        if state.is_some() && accounts::get(&mut connection, account).await?.state == AccountState::Closed {
            return Ok(Seat::Free);
        }
        Ok(match state {
            Some(UserState::Active) => Seat::Kept,
            Some(UserState::Invited) => {
                let until = invitations::expires_at(&mut connection, account, id).await?.map(seat_lease);
                until.filter(|until| *until > self.clock.now()).map_or(Seat::Free, Seat::Leased)
            }
            _ => Seat::Free,
        })
    }
}

/// Until when an invited user holds his seat.
pub fn seat_lease(invitation_expires_at: Timestamp) -> Timestamp {
    after(invitation_expires_at, GRACE)
}
