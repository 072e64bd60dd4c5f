//! Customers' addresses: how they are compared, and how they are shown to whoever may not see them.

/// The form in which addresses are compared; `None` for what is no address.
///
/// Case is ignored on both sides of the `@`: RFC 5321 lets the local part be case-sensitive, and no provider makes it so.
pub fn email_key(email: &str) -> Option<String> {
    let key = email.trim().to_lowercase();
    let (local, domain) = key.rsplit_once('@')?;
    let whole = !local.is_empty() && !domain.is_empty() && key.len() <= 254;
    (whole && !key.chars().any(|c| c.is_whitespace() || c.is_control())).then_some(key)
}

/// What is shown of an address to whoever may not see it: enough to tell two customers apart, not enough to write to them.
pub fn masked(email: &str) -> String {
    let first = |part: &str| part.chars().next().map(String::from).unwrap_or_default();
    match email.rsplit_once('@') {
        None => first(email) + "***",
        Some((local, domain)) => {
            let ending = domain.rsplit_once('.').map(|(_, ending)| format!(".{ending}")).unwrap_or_default();
            format!("{}***@{}***{ending}", first(local), first(domain))
        }
    }
}

/// The name to show of a contact who gave none: his address as far as the reader may see it.
pub fn shown_name(name: &str, email: &str, full: bool) -> String {
    // A "name" that is an address would give away what the mask hides.
    match (full, name.is_empty() || name.contains('@')) {
        (true, true) if name.is_empty() => email.to_owned(),
        (true, _) | (false, false) => name.to_owned(),
        (false, true) => masked(if name.is_empty() { email } else { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_without_case_and_nonsense_has_no_key() {
        assert_eq!(email_key(" Ann@Example.COM "), Some("ann@example.com".into()));
        for bad in ["", "ann", "@example.com", "ann@", "a nn@example.com", "ann@exa\0mple.com"] {
            assert_eq!(email_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_masked_address_shows_first_letters_and_the_ending_even_in_arabic() {
        assert_eq!(masked("ann@example.com"), "a***@e***.com");
        assert_eq!(masked("مها@مثال.إختبار"), "م***@م***.إختبار");
        assert_eq!(masked("broken"), "b***");
        assert_eq!(masked(""), "***");
    }

    #[test]
    fn a_name_that_is_an_address_does_not_undo_the_mask() {
        assert_eq!(shown_name("", "ann@example.com", false), "a***@e***.com");
        assert_eq!(shown_name("ann@example.com", "ann@example.com", false), "a***@e***.com");
        assert_eq!(shown_name("", "ann@example.com", true), "ann@example.com");
        assert_eq!(shown_name("Ann", "ann@example.com", false), "Ann");
    }
}
