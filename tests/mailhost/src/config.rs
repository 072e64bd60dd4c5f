//! The servers' configuration for one host, by the version of Dovecot.

use std::path::Path;
use std::{fs, process};

use crate::error::{Doing, Error};
use crate::{PASSWORD, Ports, passwords};

/// Where the supervising shell script lies inside of the root.
pub(crate) const SUPERVISE: &str = "/etc/supervise.sh";

const DOVECOT_2_3: &str = include_str!("config/dovecot-2.3.conf");
const DOVECOT_2_4: &str = include_str!("config/dovecot-2.4.conf");
const SMTPD: &str = include_str!("config/smtpd.conf");
const SUPERVISE_TEXT: &str = include_str!("config/supervise.sh");

/// Writes all configuration. `name` is the host name that the servers greet with.
pub(crate) fn write(root: &Path, name: &str, ports: Ports) -> Result<(), Error> {
    let files = [
        ("etc/dovecot/dovecot.conf", dovecot(root)?),
        ("etc/smtpd.conf", SMTPD),
        (&SUPERVISE[1..], SUPERVISE_TEXT),
        ("etc/mailname", "@NAME@\n"),
    ];
    for (file, text) in files {
        let text = text
            .replace("@NAME@", name)
            .replace("@IMAP_PORT@", &ports.imap.to_string())
            .replace("@SMTP_PORT@", &ports.smtp.to_string())
            .replace("@SUBMISSION_PORT@", &ports.submission.to_string())
            .replace("@PASSWORDS@", passwords::PATH)
            .replace("@PASSWORD@", PASSWORD);
        let path = root.join(file);
        fs::write(&path, text).doing("write", &path)?;
    }
    Ok(())
}

fn dovecot(root: &Path) -> Result<&'static str, Error> {
    let output = process::Command::new(crate::CHROOT)
        .arg(root)
        .args(["/usr/sbin/dovecot", "--version"])
        .output()
        .doing("run dovecot in", root)?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match version.get(..4) {
        Some("2.3.") => Ok(DOVECOT_2_3),
        Some("2.4.") => Ok(DOVECOT_2_4),
        _ => Err(Error::Version(version + String::from_utf8_lossy(&output.stderr).trim())),
    }
}
