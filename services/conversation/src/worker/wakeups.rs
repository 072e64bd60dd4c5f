//! Which teams the routing of this process looks at next.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::flow::Team;

/// Teams with work, first come first served. Whoever changes something marks the team after the commit, in this process: the
/// replica that made a change also decides on it, and if it dies in between, the sweeper of another one finds it.
#[derive(Clone, Debug, Default)]
pub struct Wakeups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    marked: Mutex<Marked>,
    ready: Notify,
}

/// Invariant: a team is with one decider at a time, so that what gathers meanwhile becomes one batch instead of deciders that
/// wait for the same lock.
#[derive(Debug, Default)]
struct Marked {
    queue: VecDeque<Team>,
    queued: HashSet<Team>,
    busy: HashSet<Team>,
}

impl Marked {
    fn take(&mut self) -> Option<Team> {
        let place = self.queue.iter().position(|team| !self.busy.contains(team))?;
        let team = self.queue.remove(place)?;
        self.queued.remove(&team);
        self.busy.insert(team);
        Some(team)
    }
}

impl Wakeups {
    /// There is work for this team. Marking it again before somebody takes it changes nothing.
    pub fn mark(&self, team: Team) {
        let mut marked = self.0.lock();
        if marked.queued.insert(team) {
            marked.queue.push_back(team);
        }
        drop(marked);
        self.0.ready.notify_one();
    }

    /// Waits for the next team. It is the caller's until the job is dropped.
    pub async fn next(&self) -> Job {
        loop {
            let taken = self.0.lock().take();
            if let Some(team) = taken {
                // A notification wakes one decider; there may be work for the next one too.
                self.0.ready.notify_one();
                return Job { team, shared: self.0.clone() };
            }
            self.0.ready.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Marked> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A team that one decider works on.
#[derive(Debug)]
pub struct Job {
    /// The team.
    pub team: Team,
    shared: Arc<Shared>,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.shared.lock().busy.remove(&self.team);
        self.shared.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    fn team(number: u128) -> Team {
        (Uuid::nil(), Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_team_is_with_one_decider_at_a_time_and_a_mark_meanwhile_is_not_lost() {
        let wakeups = Wakeups::default();
        wakeups.mark(team(1));
        let job = wakeups.next().await;
        wakeups.mark(team(1));
        wakeups.mark(team(1));
        wakeups.mark(team(2));
        assert_eq!(wakeups.next().await.team, team(2));
        assert!(timeout(Duration::from_millis(20), wakeups.next()).await.is_err());
        drop(job);
        assert_eq!(wakeups.next().await.team, team(1));
        assert!(timeout(Duration::from_millis(20), wakeups.next()).await.is_err());
    }

    #[tokio::test]
    async fn every_waiting_decider_is_woken_when_there_is_work_for_each() {
        let wakeups = Wakeups::default();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let wakeups = wakeups.clone();
                tokio::spawn(async move { wakeups.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        (0..4).for_each(|number| wakeups.mark(team(number)));
        for decider in waiting {
            timeout(Duration::from_secs(5), decider).await.unwrap().unwrap();
        }
    }
}
