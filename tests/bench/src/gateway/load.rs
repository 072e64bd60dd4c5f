//! The load, and what it cost whoever carried it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use diwan_e2e::Failure;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::cpu;

const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);
const PATH: &str = "/diwan.team.v1.TeamService/GetTeam";

/// Programs that were unpacked from Debian's packages: they bring their own loader and libraries.
pub(super) struct Packages(PathBuf);

impl Packages {
    pub(super) fn find() -> Result<Self, Failure> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.diwan/bench/packages");
        if folder.exists() { Ok(Self(folder)) } else { Err("run deploy/local/debian-packages.sh bench".into()) }
    }

    /// What starts `program` on one core.
    pub(super) fn pinned(&self, core: &str, program: &str) -> Result<Command, Failure> {
        let libraries = self.0.join("usr/lib");
        let folders = std::fs::read_dir(&libraries)?.filter_map(Result::ok).map(|entry| entry.path());
        let folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).chain([libraries.clone()]).collect();
        let loader = folders
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux"))
            .ok_or("the packages hold no loader")?;
        let paths: Vec<_> = folders.iter().map(|folder| folder.to_string_lossy()).collect();
        let mut command = pinned(core, &loader.path());
        command.arg("--library-path").arg(paths.join(":")).arg(self.0.join(program));
        Ok(command)
    }
}

/// What starts `program` on one core.
pub(super) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true);
    command
}

/// The service behind.
pub(super) struct Backend {
    pub(super) address: String,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Backend {
    pub(super) async fn start(core: &str) -> Result<Self, Failure> {
        let mut command = pinned(core, &std::env::current_exe()?);
        let mut child = command.arg("backend").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes to the backend")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next_line().await?.ok_or("the backend does not start")?;
        Ok(Self { address, stdin, lines, _child: child })
    }

    /// How many calls it has answered.
    pub(super) async fn answered(&mut self) -> Result<u64, Failure> {
        self.stdin.write_all(b"\n").await?;
        Ok(self.lines.next_line().await?.ok_or("the backend has ended")?.parse()?)
    }
}

/// What one program did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried {
    /// Processor time a call.
    pub(super) cpu: Duration,
    /// Calls a second.
    pub(super) throughput: f64,
    /// The share of one core that it had busy.
    pub(super) busy: f64,
}

/// What is sent, by whom, from which core.
pub(super) struct Load<'a> {
    pub(super) packages: &'a Packages,
    pub(super) token: &'a str,
    pub(super) body: &'a Path,
    pub(super) core: &'a str,
}

impl Load<'_> {
    /// Loads what listens at `address`, and measures the process `pid` while `backend` counts.
    pub(super) async fn on(&self, address: &str, pid: u32, backend: &mut Backend) -> Result<Carried, Failure> {
        let seconds = (WARM_UP + MEASURED + Duration::from_secs(2)).as_secs();
        let mut h2load = self.packages.pinned(self.core, "usr/bin/h2load")?;
        h2load.args(["-t", "1", "-c", "8", "-m", "32", "-D", &seconds.to_string()]).arg("-d").arg(self.body);
        h2load.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
        h2load.arg("-H").arg(format!("authorization: Bearer {}", self.token)).arg(format!("http://{address}{PATH}"));
        let mut running = h2load.spawn()?;
        tokio::time::sleep(WARM_UP).await;
        let (begun, calls, used) = (Instant::now(), backend.answered().await?, cpu::used(pid)?);
        tokio::time::sleep(MEASURED).await;
        let (time, calls) = (begun.elapsed(), backend.answered().await? - calls);
        let used = cpu::used(pid)?.saturating_sub(used);
        running.wait().await?;
        let count = u32::try_from(calls)?;
        if count == 0 {
            return Err(format!("no call came through {address}").into());
        }
        let throughput = f64::from(count) / time.as_secs_f64();
        Ok(Carried { cpu: used / count, throughput, busy: used.as_secs_f64() / time.as_secs_f64() })
    }
}
