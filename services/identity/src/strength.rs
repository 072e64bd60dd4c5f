//! How hard a new password is to guess: by zxcvbn, which knows the common passwords, names, words and patterns that guessers try
//! first. There are no rules on which characters it has.

use zxcvbn::{
    Score,
    feedback::{Feedback, Warning},
    zxcvbn,
};

/// The reason of a password that is easy to guess.
pub const TOO_WEAK: &str = "PASSWORD_TOO_WEAK";

/// Why a password is too weak: reasons whose texts say what to do about it. Empty for one that takes more than 10^8 guesses.
///
/// `about` is what is known of the person: whoever guesses begins there. It costs milliseconds of CPU.
pub fn weaknesses(password: &str, about: &[String]) -> Vec<&'static str> {
    let about: Vec<String> = about.iter().flat_map(|text| parts(text)).collect();
    let about: Vec<&str> = about.iter().map(String::as_str).collect();
    let entropy = zxcvbn(password, &about);
    if entropy.score() >= Score::Three {
        return Vec::new();
    }
    let warning = entropy.feedback().and_then(Feedback::warning);
    std::iter::once(TOO_WEAK).chain(warning.map(reason)).collect()
}

/// A text as it is, its words, and its words without what stands between them.
fn parts(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2).collect();
    let all = [text.to_owned(), words.concat()];
    all.into_iter().chain(words.into_iter().map(str::to_owned)).collect()
}

fn reason(warning: Warning) -> &'static str {
    match warning {
        Warning::StraightRowsOfKeysAreEasyToGuess
        | Warning::ShortKeyboardPatternsAreEasyToGuess
        | Warning::RepeatsLikeAaaAreEasyToGuess
        | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess
        | Warning::SequencesLikeAbcAreEasyToGuess => "PASSWORD_WEAK_PATTERN",
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword
        | Warning::ThisIsSimilarToACommonlyUsedPassword
        | Warning::AWordByItselfIsEasyToGuess => "PASSWORD_WEAK_COMMON",
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => "PASSWORD_WEAK_DATE",
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess | Warning::CommonNamesAndSurnamesAreEasyToGuess => {
            "PASSWORD_WEAK_NAME"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_guessers_try_first_is_weak_and_uncommon_words_are_strong() {
        let about = ["mona.said@example.com".to_owned(), "Mona Said".to_owned(), "Nour Trading".to_owned()];
        for (weak, why) in [
            ("password123", Some("PASSWORD_WEAK_COMMON")),
            ("aaaaaaaaaaaa", Some("PASSWORD_WEAK_PATTERN")),
            ("monasaid2024", None),
            ("nourtrading1", None),
        ] {
            let found = weaknesses(weak, &about);
            assert_eq!(found.first(), Some(&TOO_WEAK), "{weak}");
            assert!(why.is_none_or(|why| found.contains(&why)), "{weak}: {found:?}");
        }
        for strong in ["correct horse battery", "قارب أزرق فوق الجبل", "xK9#vQz2!mLp"] {
            assert_eq!(weaknesses(strong, &about), Vec::<&str>::new(), "{strong}");
        }
    }

    #[test]
    fn every_reason_has_a_text_in_every_language() {
        for reason in
            [TOO_WEAK, "PASSWORD_WEAK_PATTERN", "PASSWORD_WEAK_COMMON", "PASSWORD_WEAK_DATE", "PASSWORD_WEAK_NAME"]
        {
            assert!(diwan_fault::has_texts(reason), "{reason}");
        }
    }
}
