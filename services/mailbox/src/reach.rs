//! Which addresses a tenant's host name may lead to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

/// Which addresses may be connected to. Link-local ones never: behind them stand the metadata servers of clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All but this machine.
    Remote,
    /// This machine as well, there also without TLS.
    RemoteAndLoopback,
}

impl Reach {
    /// The rule as a function.
    pub(crate) fn permits(self) -> fn(IpAddr) -> bool {
        match self {
            Self::Remote => |address| is_reachable(address) && !address.to_canonical().is_loopback(),
            Self::RemoteAndLoopback => is_reachable,
        }
    }

    /// The addresses of a host that may be connected to, within `limit`. Connect to these very ones: asked again, the
    /// name could lead elsewhere.
    pub(crate) async fn resolve(self, host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
        let found = timeout(limit, lookup_host((host, port))).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let permitted: Vec<_> = found.filter(|address| self.permits()(address.ip())).collect();
        if permitted.is_empty() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the host's address is not permitted"));
        }
        Ok(permitted)
    }
}

fn is_reachable(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !(v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_servers_are_never_reached_and_loopback_only_where_it_is_allowed() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for forbidden in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1"] {
            assert!(!Reach::RemoteAndLoopback.permits()(ip(forbidden)), "{forbidden}");
        }
        for own in ["127.0.0.1", "::1", "127.8.8.8", "::ffff:127.0.0.1"] {
            assert!(!Reach::Remote.permits()(ip(own)), "{own}");
            assert!(Reach::RemoteAndLoopback.permits()(ip(own)), "{own}");
        }
        for good in ["192.0.2.1", "10.1.2.3", "2001:db8::1"] {
            assert!(Reach::Remote.permits()(ip(good)), "{good}");
        }
    }
}
