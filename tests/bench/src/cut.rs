//! A connection that can be cut without anybody being told: as when a cable is pulled, packets just stop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use diwan_e2e::Failure;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Passes on what comes, until it is cut.
pub(crate) struct Cut {
    address: SocketAddr,
    whole: Arc<watch::Sender<bool>>,
}

impl Cut {
    /// A way to `target`.
    pub(crate) async fn towards(target: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, whole) = (listener.local_addr()?, Arc::new(watch::Sender::new(true)));
        let state = whole.clone();
        tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                tokio::spawn(pass(from, target, state.subscribe()));
            }
        });
        Ok(Self { address, whole })
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes any more, in either direction.
    pub(crate) fn now(&self) {
        self.whole.send_replace(false);
    }
}

async fn pass(mut from: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    let _ = to.set_nodelay(true);
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
        () = async { whole.wait_for(|whole| !whole).await.map_or((), drop) } => {}
    }
    if !*whole.borrow() {
        // Both ends stay open and silent.
        std::future::pending::<()>().await;
    }
}
