//! What this PostgreSQL does with a load that everybody knows.

use diwan_e2e::{Failure, installation::postgres_programs};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;

const SECONDS: &str = "10";

/// Transactions a second of `pgbench -N -c 32 -j 2 -M prepared` at scale 10, in a database of its own on the server of `url`.
pub(super) async fn tps(url: &str) -> Result<f64, Failure> {
    let mut server = PgConnection::connect(url).await?;
    sqlx::raw_sql("create database pgbench").execute(&mut server).await?;
    let url = url.replacen("/conversation", "/pgbench", 1);
    let tps = measured(&url).await;
    sqlx::raw_sql("drop database pgbench").execute(&mut server).await?;
    tps
}

async fn measured(url: &str) -> Result<f64, Failure> {
    run(&["-i", "-q", "-s", "10", url]).await?;
    let said = run(&["-N", "-c", "32", "-j", "2", "-M", "prepared", "-T", SECONDS, url]).await?;
    let line = said.lines().find(|line| line.starts_with("tps")).ok_or("pgbench says no tps")?;
    Ok(line.split_whitespace().nth(2).ok_or("pgbench says no tps")?.parse()?)
}

async fn run(arguments: &[&str]) -> Result<String, Failure> {
    let done = Command::new(postgres_programs()?.join("pgbench")).args(arguments).output().await?;
    if !done.status.success() {
        return Err(format!("pgbench: {}", String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}
