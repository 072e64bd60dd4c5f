//! Tests of the menu.

use super::*;

const SALES: Uuid = Uuid::from_u128(1);
const TOPIC: Uuid = Uuid::from_u128(2);

fn texts(texts: &[(&str, &str)]) -> Texts {
    texts.iter().map(|(language, text)| ((*language).to_owned(), (*text).to_owned())).collect()
}

fn entry(label: &[(&str, &str)], to: Target) -> Entry {
    Entry { labels: texts(label), to }
}

fn hand_over(team: Option<Uuid>, topics: &[Uuid]) -> Target {
    Target::HandOver { team, topics: topics.to_vec() }
}

fn menu() -> Menu {
    let first = vec![
        entry(&[("en", "Sales"), ("ar", "المبيعات")], hand_over(Some(SALES), &[TOPIC])),
        entry(&[("en", "Help with an order")], Target::Page(2)),
    ];
    let second =
        vec![entry(&[("en", "Something else")], hand_over(None, &[])), entry(&[("en", "Back")], Target::Page(1))];
    Menu {
        default_language: "en".into(),
        pages: vec![
            Page { texts: texts(&[("en", "What is it about?"), ("ar", "ما الموضوع؟")]), entries: first },
            Page { texts: texts(&[("en", "Which order?")]), entries: second },
        ],
        farewells: texts(&[("en", "Somebody will answer.")]),
        most_misunderstood: 1,
    }
}

fn asked(step: Step<'_>) -> (Place, String) {
    match step {
        Step::Ask(place, question) => (place, question),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_menu_begins_in_the_customers_language_where_it_is_there() {
    let menu = menu();
    let (place, question) = asked(menu.begin(Some("ar")));
    assert_eq!((place.page, place.language.as_str(), place.questions), (1, "ar", 1));
    assert_eq!(question, "ما الموضوع؟\n\n1. المبيعات\n2. Help with an order");
    let (place, question) = asked(menu.begin(Some("pt")));
    assert_eq!(place.language, "en");
    assert!(question.starts_with("What is it about?\n\n1. Sales"), "{question}");
}

#[test]
fn an_answer_is_a_number_in_any_digits_or_a_label_in_its_first_line() {
    let menu = menu();
    let (place, _) = asked(menu.begin(None));
    let sales = Step::HandOver(Some(SALES), &[TOPIC], Some("Somebody will answer."));
    for answer in [
        "1",
        " 1. ",
        "(1)",
        "١",
        "۱",
        "１",
        "1\u{fe0f}\u{20e3}",
        "Number 1, please",
        "sales",
        "SALES!",
        "المبيعات",
        "1\n\nOn Monday, 3 January, Shop wrote:\n> 2. Help with an order",
        "\n\n1\n-- \nAna, 2 Main Street",
        "> What is it about?\n> 2. Help\n\n1",
        "On Monday Shop wrote:\n> What is it about?\n> 2. Help\n1\n",
    ] {
        assert_eq!(menu.answered(&place, answer), sales, "{answer:?}");
    }
    for answer in
        ["", "3", "0", "12", "-", "1 or 2", "I bought 1 lamp last week", "> 1", "sale", "99999999999999999999999"]
    {
        let (place, question) = asked(menu.answered(&place, answer));
        assert_eq!((place.page, place.misunderstood), (1, 1), "{answer:?}");
        assert!(question.starts_with("Sorry"), "{answer:?}: {question}");
    }
}

#[test]
fn pages_lead_on_and_back_and_a_misunderstanding_is_forgotten() {
    let menu = menu();
    let (place, _) = asked(menu.begin(None));
    let (place, _) = asked(menu.answered(&place, "what?"));
    let (place, question) = asked(menu.answered(&place, "2"));
    assert_eq!((place.page, place.misunderstood), (2, 0));
    assert!(question.starts_with("Which order?"), "{question}");
    let (back, _) = asked(menu.answered(&place, "back"));
    assert_eq!(back.page, 1);
    assert_eq!(menu.answered(&place, "1"), Step::HandOver(None, &[], Some("Somebody will answer.")));
}

#[test]
fn whoever_is_not_understood_too_often_or_asked_too_often_gets_a_person() {
    let menu = menu();
    let (place, _) = asked(menu.begin(None));
    let (place, _) = asked(menu.answered(&place, "what?"));
    assert_eq!(menu.answered(&place, "what?"), Step::GiveUp);
    let (mut place, _) = asked(menu.begin(None));
    let mut answers = 0;
    loop {
        match menu.answered(&place, "2") {
            Step::Ask(next, _) => place = next,
            Step::GiveUp => break,
            other @ Step::HandOver(..) => panic!("{other:?}"),
        }
        answers += 1;
        assert!(answers <= MOST_QUESTIONS, "two machines would talk for ever");
    }
}

#[test]
fn a_page_that_has_gone_begins_anew() {
    let menu = menu();
    let (place, _) = asked(menu.answered(&Place { page: 7, language: "en".into(), ..Place::default() }, "1"));
    assert_eq!((place.page, place.misunderstood), (1, 0));
}

#[test]
fn pages_that_no_answer_leads_to_are_found() {
    let mut menu = menu();
    assert_eq!(menu.unreachable(), Vec::<usize>::new());
    menu.pages[0].entries.remove(1);
    assert_eq!(menu.unreachable(), [2]);
}
