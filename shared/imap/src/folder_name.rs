//! Folder names: modified UTF-7 on the wire (RFC 3501, 5.1.3), UTF-8 for everybody else.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, alphabet, engine::general_purpose::GeneralPurpose, engine::general_purpose::NO_PAD};

const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, NO_PAD);

/// A folder's name exactly as the server writes it, so that a name that cannot be decoded can still be selected.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderName(Vec<u8>);

impl FolderName {
    /// The folder that a person calls so, e.g. `Gesendete Objekte` or `المرسلة`.
    pub fn new(name: &str) -> Self {
        Self(encode(name).into_bytes())
    }

    /// The name as the server wrote it, from [`Self::as_wire`].
    pub fn from_wire(name: impl Into<Vec<u8>>) -> Self {
        Self(name.into())
    }

    /// The name as the server writes it: what to store, to select the same folder again.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The name for people. What is no modified UTF-7 is shown as it stands.
    pub fn display(&self) -> Cow<'_, str> {
        decode(&self.0).map_or_else(|| String::from_utf8_lossy(&self.0), Cow::Owned)
    }
}

impl From<&str> for FolderName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display())
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderName({:?})", self.display())
    }
}

fn is_direct(c: char) -> bool {
    matches!(c, ' '..='~')
}

fn encode(name: &str) -> String {
    let mut wire = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let direct = is_direct(first);
        let run = rest.find(|c| is_direct(c) != direct).unwrap_or(rest.len());
        let (run, after) = rest.split_at(run);
        rest = after;
        if direct {
            wire.push_str(&run.replace('&', "&-"));
        } else {
            let utf16: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
            wire.extend(["&", &BASE64.encode(utf16), "-"]);
        }
    }
    wire
}

fn decode(wire: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(wire).ok()?;
    let mut name = String::new();
    while let Some((direct, shifted)) = rest.split_once('&') {
        let (run, after) = shifted.split_once('-')?;
        name.push_str(direct);
        name.push_str(&if run.is_empty() { "&".to_owned() } else { decode_run(run)? });
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

fn decode_run(run: &str) -> Option<String> {
    let bytes = BASE64.decode(run).ok()?;
    let (pairs, odd) = bytes.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    String::from_utf16(&pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_written_and_read() {
        let name = FolderName::new("~peter/mail/台北/日本語");
        assert_eq!(name.as_wire(), b"~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(name.to_string(), "~peter/mail/台北/日本語");
        assert_eq!(FolderName::new("R&D").as_wire(), b"R&-D");
    }

    #[test]
    fn a_name_that_cannot_be_decoded_keeps_its_bytes() {
        for wire in [b"a&b".as_slice(), b"&A-", b"caf\xe9", b"&2AA-"] {
            let name = FolderName::from_wire(wire);
            assert_eq!(name.as_wire(), wire);
            assert_eq!(name.display(), String::from_utf8_lossy(wire));
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read_back(name in "\\PC{0,20}|[ -~]{0,20}|[&\u{0}-\u{1f}أ-ي-]{0,20}") {
            let wire = FolderName::new(&name);
            prop_assert!(wire.as_wire().iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(wire.to_string(), name);
        }
    }
}
