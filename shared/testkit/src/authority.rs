//! Certificates made on the spot.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

/// Somebody who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One of its own, whom nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", self.0.der())
    }

    /// Writes a certificate for `names`, good for years, into `folder` as `tls.crt` and `tls.key`, and its own as `ca.crt`.
    pub fn issue(&self, folder: &Path, names: &[&str]) {
        self.issue_until(folder, names, 2090);
    }

    /// As [`Authority::issue`], for a certificate that was good until the beginning of a year.
    pub fn issue_until(&self, folder: &Path, names: &[&str], year: i32) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        fs::create_dir_all(folder).expect("a folder");
        let files = [
            ("ca.crt", self.pem()),
            ("tls.key", pem("PRIVATE KEY", key.serialized_der())),
            ("tls.crt", pem("CERTIFICATE", certificate.der())),
        ];
        for (name, content) in files {
            fs::write(folder.join(name), content).expect("a file");
        }
    }

    /// As [`Authority::issue`], for the service `service` of an installation.
    pub fn issue_for(&self, folder: &Path, service: &str) {
        self.issue(folder, &[&format!("{service}.diwan.internal")]);
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", BASE64_STANDARD.encode(der))
}
