//! Telephone numbers.

use std::fmt;

/// The most digits of a number (ITU-T E.164 section 6.1), and the fewest that a country gives to mobile telephones.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// How many digits stay visible at each end of a masked number.
const SHOWN: usize = 2;

/// A telephone number in E.164 form: `+`, country code, subscriber. Debug masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads one as people write it: digits of Arabic are digits, and what only groups them is left out. `None` for what has no country
    /// code, or is no number.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix('+')?;
        let digits: Option<String> = digits.chars().filter(|c| !" -.()\u{a0}".contains(*c)).map(digit).collect();
        let digits = digits.filter(|digits| DIGITS.contains(&digits.len()) && !digits.starts_with('0'))?;
        Some(Self(format!("+{digits}")))
    }

    /// In E.164 form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn digit(c: char) -> Option<char> {
    let value = match c {
        '0'..='9' => u32::from(c) - u32::from('0'),
        '\u{660}'..='\u{669}' => u32::from(c) - 0x660,
        '\u{6f0}'..='\u{6f9}' => u32::from(c) - 0x6f0,
        _ => return None,
    };
    char::from_digit(value, 10)
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.0.get(..=SHOWN), self.0.get(self.0.len().saturating_sub(SHOWN)..));
        write!(formatter, "{}…{}", start.unwrap_or_default(), end.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_however_it_is_grouped_and_needs_its_country() {
        for text in ["+201001234567", " +20 (100) 123-45.67 ", "+٢٠١٠٠١٢٣٤٥٦٧", "+۲۰۱۰۰۱۲۳۴۵۶۷"]
        {
            assert_eq!(PhoneNumber::read(text).unwrap().as_str(), "+201001234567", "{text}");
        }
        let long = "+1234567890123456";
        for text in
            ["", "+", "01001234567", "00201001234567", "+0201001234", "+1234567", long, "+20100x234567", "++2010012345"]
        {
            assert!(PhoneNumber::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_log_shows_no_whole_number() {
        assert_eq!(format!("{:?}", PhoneNumber::read("+201001234567").unwrap()), "+20…67");
    }
}
