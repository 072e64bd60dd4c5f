//! Authenticators: RFC 6238 with what every one of them knows, SHA-1, six digits and steps of 30 seconds.

use diwan_vault::Vault;
use jiff::Timestamp;
use qrcode::{EcLevel, QrCode, render::svg};
use totp_rs::{Builder, Totp};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{domain::Code, error::Error};

/// RFC 4226 section 4 recommends 160 bits.
const SECRET: usize = 20;
const ISSUER: &str = "Diwan";

/// The secret of an authenticator; wiped when it is dropped, and without Debug.
pub struct Secret(Zeroizing<Vec<u8>>);

/// What a person needs to set up his authenticator.
pub struct Shown {
    /// The secret in base32.
    pub secret: String,
    /// The secret as an otpauth URI.
    pub uri: String,
    /// The URI as a QR code in SVG.
    pub qr_svg: String,
}

impl Secret {
    /// A new one.
    pub fn new() -> Self {
        Self(Zeroizing::new(rand::random::<[u8; SECRET]>().to_vec()))
    }

    /// One that was sealed for the user.
    pub fn open(vault: &Vault, account: Uuid, user: Uuid, sealed: &[u8]) -> Result<Self, Error> {
        Ok(Self(vault.open(&label(account, user), sealed)?))
    }

    /// Encrypted for the user.
    pub fn seal(&self, vault: &Vault, account: Uuid, user: Uuid) -> Result<Vec<u8>, Error> {
        Ok(vault.seal(&label(account, user), &self.0)?)
    }

    /// The step that `code` belongs to, if that is the current one, the one before or the one after (RFC 6238 section 5.2).
    pub fn step_of(&self, code: &Code, now: Timestamp) -> Result<Option<i64>, Error> {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let step = self.totp("")?.check(code.expose(), seconds);
        Ok(step.and_then(|step| i64::try_from(step).ok()))
    }

    /// As the person sees it, whose address tells several authenticators apart.
    pub fn show(&self, email: &str) -> Result<Shown, Error> {
        // The URI separates issuer and name by a colon.
        let totp = self.totp(&email.replace(':', "_"))?;
        let uri = totp.to_url().map_err(|error| Error::Totp(error.into()))?;
        let qr = QrCode::with_error_correction_level(&uri, EcLevel::M).map_err(|error| Error::Totp(error.into()))?;
        let qr_svg = qr.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
        Ok(Shown { secret: totp.secret().to_base32(), uri, qr_svg })
    }

    fn totp(&self, name: &str) -> Result<Totp, Error> {
        let builder = Builder::new().with_secret(self.0.to_vec()).with_issuer(Some(ISSUER)).with_account_name(name);
        builder.build().map_err(|error| Error::Totp(error.into()))
    }
}

fn label(account: Uuid, user: Uuid) -> Vec<u8> {
    [account.as_bytes().as_slice(), user.as_bytes(), b"totp"].concat()
}

#[cfg(test)]
mod tests {
    use rqrr::PreparedImage;

    use super::*;

    fn shown() -> (Secret, Shown) {
        let secret = Secret::new();
        let shown = secret.show("mona:said@example.com").unwrap();
        (secret, shown)
    }

    /// Whether each pixel of an SVG of rectangles is dark.
    fn pixels(svg: &str) -> (usize, Vec<bool>) {
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        let side: usize = number(svg.split_once("width=\"").unwrap().1);
        let mut dark = vec![false; side * side];
        for rectangle in svg.split_once(" d=\"").unwrap().1.split('M').skip(1) {
            let parts: Vec<usize> =
                rectangle.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(number).collect();
            let [left, top, width, height, ..] = parts[..] else { panic!("{rectangle}") };
            for row in top..top + height {
                dark[row * side + left..row * side + left + width].fill(true);
            }
        }
        (side, dark)
    }

    #[test]
    fn the_qr_code_reads_as_the_uri_which_holds_the_secret() {
        let (secret, shown) = shown();
        let (side, dark) = pixels(&shown.qr_svg);
        let mut image =
            PreparedImage::prepare_from_greyscale(side, side, |x, y| if dark[y * side + x] { 0 } else { 255 });
        let (_, content) = image.detect_grids().remove(0).decode().unwrap();
        assert_eq!(content, shown.uri);
        let scanned = Totp::from_url(&content).unwrap();
        assert_eq!(scanned.secret().as_ref(), secret.0.as_slice());
        assert_eq!(scanned.secret().to_base32(), shown.secret);
        assert_eq!(scanned.account_name(), "mona_said@example.com");
    }

    /// RFC 6238 appendix B, SHA-1: the last six digits.
    #[test]
    fn codes_are_those_of_the_rfc_and_belong_to_one_step() {
        let secret = Secret(Zeroizing::new(b"12345678901234567890".to_vec()));
        for (seconds, code) in [(1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")] {
            let step = |late: i64| {
                let now = Timestamp::from_second(seconds + late).unwrap();
                secret.step_of(&Code::typed(code), now).unwrap()
            };
            for late in [-30, 0, 30] {
                assert_eq!(step(late), Some(seconds / 30), "{code} {late} seconds late");
            }
            assert_eq!((step(-60), step(61)), (None, None));
        }
    }
}
