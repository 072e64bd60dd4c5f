//! Ports for servers that are about to start.

use std::{
    env,
    fs::{File, create_dir_all},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::{Mutex, PoisonError},
};

use nix::unistd::Uid;

use crate::Failure;

/// Below those from which connections go out (32768 and above on Linux): one of these would be somebody's by the time its server starts.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The locks of the ports that this process has given out.
static GIVEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// An address on which nobody listens. The lock of a file keeps other processes that ask here from getting it while this one runs.
///
/// # Errors
/// When there is none, or no folder for the locks.
pub fn free_address() -> Result<SocketAddr, Failure> {
    let folder = env::temp_dir().join(format!("diwan-ports-{}", Uid::current()));
    create_dir_all(&folder)?;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes that run side by side begin at different ones.
    let begin = u16::try_from(process::id().wrapping_mul(16) % u32::from(COUNT))?;
    for step in 0..COUNT {
        let port = FIRST + (begin + step) % COUNT;
        let lock = File::create(folder.join(port.to_string()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if lock.try_lock().is_ok() && TcpListener::bind(address).is_ok() {
            given.push(lock);
            return Ok(address);
        }
    }
    Err("no port is free".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice_nor_one_on_which_somebody_listens() {
        let first = free_address().unwrap();
        let taken = SocketAddr::from((Ipv4Addr::LOCALHOST, first.port() + 1));
        let _listens = TcpListener::bind(taken);
        let others = [(); 20].map(|()| free_address().unwrap());
        assert!(others.iter().all(|other| *other != first && *other != taken && other.port() < 32_768), "{others:?}");
    }
}
