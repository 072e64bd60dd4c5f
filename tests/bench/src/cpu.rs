//! What a process has used, as the kernel counts it.

use std::{fs, time::Duration};

use diwan_e2e::Failure;
use sqlx::PgConnection;

/// Places after the program's name: proc(5) counts them from 3.
const PARENT: usize = 1;
const USER: usize = 11;
const SYSTEM: usize = 12;
const CHILDREN_USER: usize = 13;
const CHILDREN_SYSTEM: usize = 14;
/// The kernel counts in hundredths of a second for programs, whatever it does inside (proc(5), sysconf(3)).
const TICK: Duration = Duration::from_millis(10);

/// The processor time of a process, all its threads, in user and kernel mode.
pub(crate) fn used(pid: u32) -> Result<Duration, Failure> {
    let stat = stat(pid)?;
    Ok(TICK * (field(&stat, USER)? + field(&stat, SYSTEM)?))
}

/// What the kernel says of a process, from the third field on: the second, the program's name, may hold blanks, and ends with the
/// last bracket.
fn stat(pid: u32) -> Result<String, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default())
}

fn field(stat: &str, place: usize) -> Result<u32, Failure> {
    Ok(stat.split_whitespace().nth(place).and_then(|text| text.parse().ok()).ok_or("an unreadable stat")?)
}

/// A PostgreSQL server: its main process and those that it has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server(u32);

impl Server {
    /// The one that this connection leads to, on this machine.
    pub(crate) async fn of(connection: &mut PgConnection) -> Result<Self, Failure> {
        let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await?;
        Ok(Self(field(&stat(backend.try_into()?)?, PARENT)?))
    }

    /// The processor time of all its processes; what those used that have ended counts too.
    pub(crate) fn used(self) -> Result<Duration, Failure> {
        let own = stat(self.0)?;
        let ended = TICK * (field(&own, CHILDREN_USER)? + field(&own, CHILDREN_SYSTEM)?);
        let mut all = used(self.0)? + ended;
        for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // One that has ended since it was listed is nobody's child.
            if stat(pid).and_then(|stat| field(&stat, PARENT)).is_ok_and(|parent| parent == self.0) {
                all += used(pid).unwrap_or_default();
            }
        }
        Ok(all)
    }
}

/// The resident memory of a process now and at its peak, in bytes.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64), Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> Result<u64, Failure> {
        let line = status.lines().find(|line| line.starts_with(name)).ok_or("an unreadable status")?;
        let kib: u64 = line.split_whitespace().nth(1).ok_or("an unreadable status")?.parse()?;
        Ok(kib * 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}
