//! The four languages, and which one the current request is to be answered in.

use std::future::Future;

/// A language that every text for people exists in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// Arabic, written from right to left.
    Ar,
    /// English.
    #[default]
    En,
    /// Spanish.
    Es,
    /// Portuguese.
    Pt,
}

impl Language {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Ar, Self::En, Self::Es, Self::Pt];

    /// Its tag (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::Ar => "ar",
            Self::En => "en",
            Self::Es => "es",
            Self::Pt => "pt",
        }
    }

    /// The language of a tag such as `pt` or `pt-BR`, if it is one of the four.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The best of the four for an `accept-language` header (RFC 9110 section 12.5.4): the highest weight, then the
    /// earliest. English where none of the four is wanted.
    pub fn of_header(header: &str) -> Self {
        let mut best = (0.0, Self::En);
        for range in header.split(',') {
            let mut parts = range.trim().split(';');
            let language = parts.next().and_then(|tag| Self::of_tag(tag.trim()));
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32);
            if let Some(language) = language
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }
}

tokio::task_local! {
    static CURRENT: Language;
}

/// Runs `request` with its texts in `language`.
pub fn scope<F: Future>(language: Language, request: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(language, request)
}

/// As [`scope`], for work that does not wait.
pub fn sync_scope<T>(language: Language, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(language, work)
}

/// The language of the request that is being answered; English outside one.
pub fn current() -> Language {
    CURRENT.try_with(|language| *language).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_wins_and_an_unknown_language_is_passed_over() {
        assert_eq!(Language::of_header("fr, es;q=0.5, pt-BR;q=0.8"), Language::Pt);
        assert_eq!(Language::of_header("ar-EG,en"), Language::Ar);
        assert_eq!(Language::of_header("fr;q=x, ,;;"), Language::En);
    }
}
