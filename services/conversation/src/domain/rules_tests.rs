//! What the matcher promises, tried with rules and enquiries at random.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(values: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    vec(select(values), 0..3)
}

const TEXTS: [&str; 3] = ["my invoice is wrong", "where is my order", ""];

fn conditions() -> impl Strategy<Value = Conditions> {
    let texts = |values: &[&str]| some_of(values.iter().map(ToString::to_string).collect());
    (
        some_of(vec![id(1), id(2)]),
        texts(&["EG", "BR"]),
        some_of(vec![id(3), id(4)]),
        some_of(vec![Channel::Email]),
        texts(&["invoice", "my order", "refund"]),
        texts(&["ar", "en"]),
        some_of(vec![id(6), id(7)]),
    )
        .prop_map(|(topics, countries, mailboxes, channels, keywords, languages, groups)| Conditions {
            topics,
            countries,
            mailboxes,
            channels,
            keywords,
            languages,
            groups,
        })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(conditions(), 0..8).prop_map(|all| {
        let rule = |(number, conditions): (u128, Conditions)| Rule {
            id: id(100 + number),
            conditions,
            team: id(200 + number),
            priority: None,
            add_topics: Vec::new(),
            bot: None,
            version: 1,
        };
        (0..).zip(all).map(rule).collect()
    })
}

fn enquiry() -> impl Strategy<Value = Enquiry> {
    let country = select(vec![None, Some("EG".to_owned()), Some("BR".to_owned()), Some("PT".to_owned())]);
    let language = select(vec![None, Some("ar"), Some("en")]);
    (
        some_of(vec![id(1), id(2)]),
        country,
        select(vec![None, Some(id(3)), Some(id(5))]),
        select(TEXTS.to_vec()),
        language,
        some_of(vec![id(6), id(7)]),
    )
        .prop_map(|(topics, country, mailbox, text, language, groups)| Enquiry {
            topics,
            country,
            groups,
            mailbox,
            channel: Channel::Email,
            language,
            words: Words::of(text),
        })
}

proptest! {
    #[test]
    fn the_first_rule_that_matches_wins_and_no_other(rules in rules(), enquiry in enquiry()) {
        let alone = |rule: &Rule| first_match(std::slice::from_ref(rule), &enquiry).is_some();
        let expected = rules.iter().position(alone);
        prop_assert_eq!(first_match(&rules, &enquiry).map(|rule| rule.id), expected.map(|place| rules[place].id));
    }

    #[test]
    fn rules_behind_the_one_that_matches_change_nothing(rules in rules(), more in rules(), enquiry in enquiry()) {
        if let Some(matched) = first_match(&rules, &enquiry) {
            let longer: Vec<_> = rules.iter().cloned().chain(more).collect();
            prop_assert_eq!(first_match(&longer, &enquiry), Some(matched));
        }
    }

    #[test]
    fn a_further_condition_never_makes_a_rule_match(first in conditions(), second in conditions(), enquiry in enquiry()) {
        // One that asks for what either asks for, where only one of them asks.
        let (one, other) = (first.clone(), second);
        let both = Conditions {
            topics: if one.topics.is_empty() { other.topics } else { one.topics },
            countries: if one.countries.is_empty() { other.countries } else { one.countries },
            mailboxes: if one.mailboxes.is_empty() { other.mailboxes } else { one.mailboxes },
            channels: if one.channels.is_empty() { other.channels } else { one.channels },
            keywords: if one.keywords.is_empty() { other.keywords } else { one.keywords },
            languages: if one.languages.is_empty() { other.languages } else { one.languages },
            groups: if one.groups.is_empty() { other.groups } else { one.groups },
        };
        prop_assert!(first.hold(&enquiry) || !both.hold(&enquiry));
    }
}

#[test]
fn each_condition_alone_decides() {
    let enquiry = Enquiry {
        topics: vec![id(1)],
        country: Some("EG".into()),
        groups: vec![id(5), id(6)],
        mailbox: Some(id(3)),
        channel: Channel::Email,
        language: Some("ar"),
        words: Words::of("الفاتورة الأخيرة"),
    };
    let none = Conditions::default;
    for (conditions, expected) in [
        (none(), true),
        (Conditions { topics: vec![id(2), id(1)], ..none() }, true),
        (Conditions { topics: vec![id(2)], ..none() }, false),
        (Conditions { countries: vec!["BR".into(), "EG".into()], ..none() }, true),
        (Conditions { countries: vec!["BR".into()], ..none() }, false),
        (Conditions { mailboxes: vec![id(3)], ..none() }, true),
        (Conditions { mailboxes: vec![id(4)], ..none() }, false),
        (Conditions { groups: vec![id(7), id(6)], ..none() }, true),
        (Conditions { groups: vec![id(7)], ..none() }, false),
        (Conditions { channels: vec![Channel::Email], ..none() }, true),
        (Conditions { languages: vec!["ar".into()], ..none() }, true),
        (Conditions { languages: vec!["en".into()], ..none() }, false),
        (Conditions { keywords: vec!["فاتوره".into(), "الفاتوره".into()], ..none() }, true),
        (Conditions { keywords: vec!["فاتورة".into()], ..none() }, false),
        (Conditions { countries: vec!["EG".into()], languages: vec!["en".into()], ..none() }, false),
    ] {
        assert_eq!(conditions.hold(&enquiry), expected, "{conditions:?}");
    }
}

#[test]
fn without_a_match_it_is_the_mailboxs_team_and_then_the_fallback() {
    let rule = Rule {
        id: id(1),
        conditions: Conditions::default(),
        team: id(2),
        priority: None,
        add_topics: Vec::new(),
        bot: None,
        version: 7,
    };
    let (own, fallback) = (Some(id(3)), Some(id(4)));
    assert_eq!(team(Some(&rule), own, fallback), Some((id(2), Via::Rule(id(1), 7))));
    assert_eq!(team(None, own, fallback), Some((id(3), Via::Mailbox)));
    assert_eq!(team(None, None, fallback), Some((id(4), Via::Fallback)));
    assert_eq!(team(None, None, None), None);
}
