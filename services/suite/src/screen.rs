//! What a person in front of the terminal is told. The log goes to a file.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the one place that talks to the terminal")]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// One line of output.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Something beside the output, which may go into a variable or a file.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// One step of the start is done.
pub(crate) fn step(what: &str, took: Duration) {
    println!("  {what:<44} {:>6} ms", took.as_millis());
}

/// Why the command failed.
pub(crate) fn failed(why: &str) {
    eprintln!("diwan: {why}");
}

/// Everything is up: where it is, and what to try first.
pub(crate) fn ready(address: SocketAddr, home: &Path, log: &str, encrypted: bool, took: Duration) {
    // The scripts fetch it into the working copy, which is the home folder's parent unless DIWAN_HOME says otherwise.
    let fetched = [home.join("bin/grpcurl"), PathBuf::from(".diwan/bin/grpcurl")];
    let grpcurl = fetched.into_iter().find(|path| path.exists()).unwrap_or_else(|| "grpcurl".into());
    let way = if encrypted { "-cacert CA.crt" } else { "-plaintext" };
    println!(
        "Diwan is ready after {:.1} s.

  gateway   {address}
  data      {}
  log       {log}

First words (in another terminal):

  {grpcurl} {way} {address} list

  {grpcurl} {way} -d '{{\"request_id\": \"first\", \"company\": \"Example\", \"time_zone\": \"Africa/Cairo\", \"language\": \"en\",
      \"owner_name\": \"Ada Example\", \"email\": \"ada@example.com\", \"password\": \"correct horse battery\"}}' \\
      {address} diwan.identity.v1.AccountService/SignUp

Ctrl-C ends it; the data stays.",
        took.as_secs_f64(),
        home.display(),
        grpcurl = grpcurl.display(),
    );
}
