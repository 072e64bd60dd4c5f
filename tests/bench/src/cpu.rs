//! What a process has used, as the kernel counts it.

use std::{fs, time::Duration};

use diwan_e2e::Failure;

/// The kernel counts in hundredths of a second for programs, whatever it does inside (proc(5), sysconf(3)).
const TICK: Duration = Duration::from_millis(10);

/// The processor time of a process, all its threads, in user and kernel mode.
pub(crate) fn used(pid: u32) -> Result<Duration, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the program's name, may hold blanks; it ends with the last bracket.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u32>().ok()).ok_or("an unreadable stat");
    Ok(TICK * (ticks(11)? + ticks(12)?))
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
