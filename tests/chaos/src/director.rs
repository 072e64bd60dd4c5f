//! Whoever kills: a replica every few seconds, and PostgreSQL once.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{net::TcpStream, time::sleep};

use crate::{
    Plan,
    stage::{Processes, Stage},
};

/// A process that was killed listens again within this time, also on a machine that is busy.
const BACK: Duration = Duration::from_mins(1);

impl Processes {
    /// Kills replicas, and PostgreSQL when half of the operations are done, until the clients are done.
    pub(crate) async fn disturb(&mut self, stage: &Stage, plan: &Plan) -> Result<(), Failure> {
        let mut random = StdRng::seed_from_u64(plan.seed);
        while !stage.over.load(Ordering::SeqCst) {
            let pause = plan.kill_every.mul_f64(random.random_range(0.5..1.5));
            let until = Instant::now() + pause;
            while Instant::now() < until && !stage.over.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(20)).await;
            }
            let half = stage.done.load(Ordering::SeqCst) > plan.operations / 2;
            if half && stage.crashes.load(Ordering::SeqCst) == 0 {
                self.installation.crash_postgres().await?;
                stage.crashes.fetch_add(1, Ordering::SeqCst);
            }
            self.kill(stage, &mut random).await?;
        }
        Ok(())
    }

    /// Kills one replica and starts it again.
    async fn kill(&mut self, stage: &Stage, random: &mut StdRng) -> Result<(), Failure> {
        let (name, address) = self.replicas[random.random_range(0..self.replicas.len())].clone();
        self.installation.crash(&name).await?;
        stage.kills.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(random.random_range(0..500))).await;
        self.installation.revive("conversation", &name, address)?;
        listens(address).await
    }
}

async fn listens(address: SocketAddr) -> Result<(), Failure> {
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        if begun.elapsed() > BACK {
            return Err(format!("a replica did not listen within {BACK:?} after it was killed").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
