//! Words of a text, in the form in which they are compared, and its language.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use whatlang::{Detector, Lang};

/// No more characters of a text are looked at: what a mail is about stands at its beginning.
const MOST: usize = 50_000;
/// Enough to tell a language.
const ENOUGH: usize = 2_000;

/// The words of a text without case and diacritics, each between two spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// Those of `text`. A word is what consists of letters and digits.
    pub fn of(text: &str) -> Self {
        let mut words = String::from(" ");
        for c in text.chars().take(MOST).nfkd().filter(|c| !is_silent(*c)).flat_map(char::to_lowercase) {
            match folded(c) {
                c if c.is_alphanumeric() => words.push(c),
                _ if words.ends_with(' ') => {}
                _ => words.push(' '),
            }
        }
        if !words.ends_with(' ') {
            words.push(' ');
        }
        Self(words)
    }

    /// They, one by one.
    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.0.split_whitespace()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0 == " "
    }

    /// Whether those of `phrase` follow each other here.
    pub fn contain(&self, phrase: &Self) -> bool {
        !phrase.is_empty() && self.0.contains(&phrase.0)
    }
}

/// Marks on letters (Arabic vowels too), tatweel, and what only directs how text is laid out: a word with and without is the same.
fn is_silent(c: char) -> bool {
    is_combining_mark(c)
        || matches!(c, '\u{640}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Letters that people write for each other. Those with hamza or madda are decomposed already.
fn folded(c: char) -> char {
    match c {
        'ٱ' => 'ا',
        'ى' | 'ی' => 'ي',
        'ة' => 'ه',
        'ک' => 'ك',
        'ı' => 'i',
        'ς' => 'σ',
        other => other,
    }
}

/// The language of a text: "ar", "en", "es" or "pt". `None`: another one, or it is too short to tell.
pub fn language(text: &str) -> Option<&'static str> {
    let beginning: String = text.chars().take(ENOUGH).collect();
    let found = Detector::with_allowlist(vec![Lang::Ara, Lang::Eng, Lang::Spa, Lang::Por]).detect(&beginning)?;
    match found.lang() {
        // By its script, which nothing else of these is written in.
        Lang::Ara => Some("ar"),
        _ if !found.is_reliable() => None,
        Lang::Eng => Some("en"),
        Lang::Spa => Some("es"),
        Lang::Por => Some("pt"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str, phrase: &str) -> bool {
        Words::of(text).contain(&Words::of(phrase))
    }

    #[test]
    fn whole_words_are_found_whatever_their_case_and_diacritics() {
        for (text, phrase) in [
            ("My INVOICE, please!", "invoice"),
            ("La facturación está mal", "facturacion"),
            ("informacao urgente", "Informação"),
            ("where is (my) order?", "my  order"),
            ("الفَاتُورَةُ خاطئة", "الفاتوره"),
            ("أين طلبي", "اين"),
            ("إرجـــاع المنتج", "ارجاع"),
            ("رسالة إلى على", "علي"),
            ("ﻓﺎﺗﻮﺭﺓ", "فاتورة"),
            ("in\u{ad}voice", "invoice"),
        ] {
            assert!(finds(text, phrase), "{phrase} in {text}");
        }
        for (text, phrase) in [("invoices", "invoice"), ("my big order", "my order"), ("anything", "!"), ("", "a")] {
            assert!(!finds(text, phrase), "{phrase} in {text}");
        }
    }

    #[test]
    fn a_language_is_told_from_a_sentence_and_not_from_a_scrap() {
        for (text, expected) in [
            ("Good morning, the lamp that I have bought from your shop last week does not work any more.", Some("en")),
            ("Buenos días, la lámpara que compré la semana pasada en su tienda ya no funciona, ¿qué hago?", Some("es")),
            (
                "Bom dia, a lâmpada que comprei na semana passada na vossa loja não está a funcionar, o que faço?",
                Some("pt"),
            ),
            ("صباح الخير، المصباح الذي اشتريته من متجركم لا يعمل", Some("ar")),
            ("Доброе утро, лампа не работает", None),
            ("12345 ???", None),
            ("", None),
        ] {
            assert_eq!(language(text), expected, "{text}");
        }
    }
}
