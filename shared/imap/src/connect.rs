//! From an endpoint to a session that is signed in.

use std::net::SocketAddr;

use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    endpoint::{Credentials, Endpoint, Options, Security},
    error::{Error, Kind, Step},
    session::Session,
    wire::Wire,
};

/// Connects, protects the connection, signs in, and compresses where offered.
///
/// # Errors
/// [`Error::step`] tells which of it failed, [`Error::retry`] whether it can succeed later as it is.
pub async fn connect(endpoint: &Endpoint, credentials: &Credentials, options: &Options) -> Result<Session, Error> {
    let stream = dial(endpoint, options).await.map_err(Error::at(Step::Connect))?;
    let mut session = Session::new(Wire::new(stream, &options.limits), options.limits.clone());
    if endpoint.security == Security::Tls {
        session.encrypt(&endpoint.host, &options.trust).await.map_err(Error::at(Step::Tls))?;
    }
    session.greet().await.map_err(Error::at(Step::Greeting))?;
    if endpoint.security == Security::StartTls {
        session.start_tls(&endpoint.host, &options.trust).await.map_err(Error::at(Step::Tls))?;
    }
    session.ask_capabilities().await.map_err(Error::at(Step::Greeting))?;
    session.sign_in(credentials, endpoint).await.map_err(Error::at(Step::Login))?;
    session.ask_capabilities().await.map_err(Error::at(Step::Command("CAPABILITY")))?;
    if options.compress {
        session.compress().await.map_err(Error::at(Step::Command("COMPRESS")))?;
    }
    Ok(session)
}

async fn dial(endpoint: &Endpoint, options: &Options) -> Result<TcpStream, Kind> {
    let limit = options.limits.connect;
    let found = timeout(limit, lookup_host((endpoint.host.as_str(), endpoint.port)));
    let found: Vec<SocketAddr> = found.await.map_err(|_| Kind::Timeout)??.collect();
    let mut failure = Kind::NotPermitted;
    for address in &found {
        if !(options.permits)(address.ip()) {
            continue;
        }
        if endpoint.security == Security::Plain && !address.ip().is_loopback() {
            failure = Kind::NotLoopback;
            continue;
        }
        // A share each, or one black-holed address would use up the time of those that work.
        let share = limit / u32::try_from(found.len()).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Commands are small and each waits for its answer: Nagle's algorithm would delay every one.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error.into(),
            Err(_) => failure = Kind::Timeout,
        }
    }
    Err(failure)
}
