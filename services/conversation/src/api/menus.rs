//! A menu as it is given, checked: each language once and the default one always there, and every page led to by some answer.

use diwan_fault::{Fields, Language};
use diwan_proto::conversation::v1 as proto;
use prost::Message as _;

use crate::domain::menu::{Entry, Menu, Page, Target, Texts};

const PAGES: usize = 50;
const ENTRIES: usize = 20;
const TOPICS: usize = 20;
const LONGEST_TEXT: usize = 2_000;
const LONGEST_LABEL: usize = 100;
const MISUNDERSTOOD: i32 = 10;
/// In bytes, of the whole menu: an event of its bot holds it, and takes a megabyte at most.
const LARGEST: usize = 500_000;

/// Reads the menu in `field`.
pub fn menu(fields: &mut Fields, field: &str, asked: &proto::MenuBot) -> Menu {
    if asked.encoded_len() > LARGEST {
        fields.refuse(field, "FIELD_MENU_SIZE", &[("max", LARGEST.to_string())]);
        return Menu::default();
    }
    let language = fields.language(&format!("{field}.default_language"), &asked.default_language).tag();
    let path = format!("{field}.pages");
    let fits = fields.entries(&path, asked.pages.len(), 1..=PAGES);
    let mut pages = Vec::new();
    for (place, page) in asked.pages.iter().enumerate().filter(|_| fits) {
        pages.push(self::page(fields, &format!("{path}[{place}]"), (page, asked.pages.len()), language));
    }
    let farewells = if asked.farewells.is_empty() {
        Texts::new()
    } else {
        texts(fields, &format!("{field}.farewells"), (&asked.farewells, language), (LONGEST_TEXT, false))
    };
    let most = fields.number(&format!("{field}.most_misunderstood"), asked.most_misunderstood, 0..=MISUNDERSTOOD);
    let menu = Menu { default_language: language.to_owned(), pages, farewells, most_misunderstood: most };
    for page in menu.unreachable() {
        fields.refuse(&format!("{path}[{}]", page - 1), "FIELD_MENU_PAGE", &[]);
    }
    menu
}

fn page(fields: &mut Fields, field: &str, (asked, pages): (&proto::MenuPage, usize), language: &str) -> Page {
    let texts = texts(fields, &format!("{field}.texts"), (&asked.texts, language), (LONGEST_TEXT, false));
    let path = format!("{field}.entries");
    let fits = fields.entries(&path, asked.entries.len(), 1..=ENTRIES);
    let mut found = Vec::new();
    for (place, entry) in asked.entries.iter().enumerate().filter(|_| fits) {
        found.push(self::entry(fields, &format!("{path}[{place}]"), (entry, pages), language));
    }
    Page { texts, entries: found }
}

fn entry(fields: &mut Fields, field: &str, (asked, pages): (&proto::MenuEntry, usize), language: &str) -> Entry {
    let labels = texts(fields, &format!("{field}.labels"), (&asked.labels, language), (LONGEST_LABEL, true));
    let team = fields.optional_uuid(&format!("{field}.team_id"), &asked.team_id);
    let topics = fields.uuids(&format!("{field}.topic_ids"), &asked.topic_ids, 0..=TOPICS);
    let to = match usize::try_from(asked.page) {
        Ok(0) => Target::HandOver { team, topics },
        Ok(page) if page <= pages => {
            if team.is_some() || !topics.is_empty() {
                let one = [("fields", "page, team_id".to_owned())];
                fields.refuse(&format!("{field}.page"), "FIELD_ONE_OF", &one);
            }
            Target::Page(page)
        }
        _ => {
            fields.refuse(&format!("{field}.page"), "FIELD_MENU_PAGE", &[]);
            Target::HandOver { team, topics }
        }
    };
    Entry { labels, to }
}

fn texts(
    fields: &mut Fields,
    field: &str,
    (asked, default): (&[proto::LocalizedText], &str),
    (longest, one_line): (usize, bool),
) -> Texts {
    let mut texts = Texts::new();
    if !fields.entries(field, asked.len(), 0..=Language::ALL.len()) {
        return texts;
    }
    for (place, text) in asked.iter().enumerate() {
        let language = fields.language(&format!("{field}[{place}].language"), &text.language).tag();
        let path = format!("{field}[{place}].text");
        let text = if one_line {
            fields.line(&path, &text.text, 1..=longest)
        } else {
            fields.text(&path, &text.text, 1..=longest)
        };
        texts.insert(language.to_owned(), text);
    }
    if texts.len() != asked.len() || !texts.contains_key(default) {
        fields.refuse(field, "FIELD_TEXTS", &[("language", default.to_owned())]);
    }
    texts
}
