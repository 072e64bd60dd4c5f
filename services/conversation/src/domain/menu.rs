//! What a menu bot says: a pure function of the menu, the place that the customer has come to, and his answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::text::Words;

/// After so many questions of a menu, or turns of an external bot, in one conversation somebody else has to help: two machines that talk
/// to each other end here too.
pub const MOST_QUESTIONS: i32 = 30;

/// A text by its language.
pub type Texts = BTreeMap<String, String>;

/// A menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Menu {
    /// The language of those whose own cannot be told or is not there. All texts exist in it.
    pub default_language: String,
    /// The first one is where it begins.
    pub pages: Vec<Page>,
    /// Said at a hand-over; none: nothing is.
    pub farewells: Texts,
    /// How many answers in a row may not be understood.
    pub most_misunderstood: i32,
}

/// What is asked at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Above the entries.
    pub texts: Texts,
    /// By their numbers, from 1.
    pub entries: Vec<Entry>,
}

/// One answer that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Behind its number.
    pub labels: Texts,
    /// Where it leads.
    pub to: Target,
}

/// Where an entry leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// To another page, counted from 1.
    Page(usize),
    /// To a team; `None`: by the routing rules.
    HandOver {
        /// The team.
        team: Option<Uuid>,
        /// What the conversation is about.
        topics: Vec<Uuid>,
    },
}

/// Where a customer is in a menu.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The page that he was asked last, counted from 1; 0: none.
    pub page: usize,
    /// In which language.
    pub language: String,
    /// How many questions there were.
    pub questions: i32,
    /// How many answers in a row were not understood.
    pub misunderstood: i32,
}

/// What the bot does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// It asks.
    Ask(Place, String),
    /// It hands over: to this team, or by the rules; with these topics; and says farewell.
    HandOver(Option<Uuid>, &'a [Uuid], Option<&'a str>),
    /// The prospective team has to help.
    GiveUp,
}

impl Menu {
    /// Asks the first question, in the customer's language as far as it is told and there.
    pub fn begin(&self, language: Option<&str>) -> Step<'_> {
        let known = |language: &&str| self.pages.first().is_some_and(|page| page.texts.contains_key(*language));
        let language = language.filter(known).unwrap_or(&self.default_language).to_owned();
        self.ask(Place { language, ..Place::default() }, 1)
    }

    /// What follows from an answer.
    pub fn answered(&self, place: &Place, answer: &str) -> Step<'_> {
        let Some(page) = place.page.checked_sub(1).and_then(|page| self.pages.get(page)) else {
            return self.ask(place.clone(), 1);
        };
        match page.chosen(answer).map(|entry| &entry.to) {
            Some(Target::Page(next)) => self.ask(Place { misunderstood: 0, ..place.clone() }, *next),
            Some(Target::HandOver { team, topics }) => {
                Step::HandOver(*team, topics, self.text(&self.farewells, &place.language))
            }
            None if place.misunderstood >= self.most_misunderstood => Step::GiveUp,
            None => match self.ask(Place { misunderstood: place.misunderstood + 1, ..place.clone() }, place.page) {
                Step::Ask(next, question) => Step::Ask(next, format!("{}\n\n{question}", sorry(&place.language))),
                other => other,
            },
        }
    }

    fn ask(&self, place: Place, page: usize) -> Step<'_> {
        match page.checked_sub(1).and_then(|index| self.pages.get(index)) {
            Some(asked) if place.questions < MOST_QUESTIONS => {
                let question = self.question(asked, &place.language);
                Step::Ask(Place { page, questions: place.questions + 1, ..place }, question)
            }
            _ => Step::GiveUp,
        }
    }

    fn question(&self, page: &Page, language: &str) -> String {
        let mut question = self.text(&page.texts, language).unwrap_or_default().to_owned();
        question.push('\n');
        for (number, entry) in (1_u32..).zip(&page.entries) {
            let label = self.text(&entry.labels, language).unwrap_or_default();
            question.extend(["\n", &number.to_string(), ". ", label]);
        }
        question
    }

    fn text<'a>(&self, texts: &'a Texts, language: &str) -> Option<&'a str> {
        texts.get(language).or_else(|| texts.get(&self.default_language)).map(String::as_str)
    }

    /// Pages, counted from 1, that no answer leads to.
    pub fn unreachable(&self) -> Vec<usize> {
        let mut reached = vec![false; self.pages.len()];
        let mut next = vec![1];
        while let Some(page) = next.pop() {
            let (Some(seen), Some(found)) = (reached.get_mut(page - 1), self.pages.get(page - 1)) else { continue };
            if !std::mem::replace(seen, true) {
                next.extend(found.entries.iter().filter_map(|entry| match entry.to {
                    Target::Page(page) => Some(page).filter(|page| *page > 0),
                    Target::HandOver { .. } => None,
                }));
            }
        }
        (1..).zip(reached).filter(|(_, reached)| !reached).map(|(page, _)| page).collect()
    }

    /// The same menu with one team in the place of another.
    #[must_use]
    pub fn redirected(mut self, from: Uuid, to: Uuid) -> Self {
        for entry in self.pages.iter_mut().flat_map(|page| &mut page.entries) {
            if let Target::HandOver { team: Some(team), .. } = &mut entry.to
                && *team == from
            {
                *team = to;
            }
        }
        self
    }

    /// The teams and topics that it names.
    pub fn names(&self) -> (Vec<Uuid>, Vec<Uuid>) {
        let (mut teams, mut all_topics) = (Vec::new(), Vec::new());
        for entry in self.pages.iter().flat_map(|page| &page.entries) {
            if let Target::HandOver { team, topics } = &entry.to {
                teams.extend(team);
                all_topics.extend(topics);
            }
        }
        (teams, all_topics)
    }
}

impl Page {
    /// The entry that an answer means. Mail quotes what it answers, so its first line counts, and where that is a quotation, the first
    /// line below it.
    fn chosen(&self, answer: &str) -> Option<&Entry> {
        let lines: Vec<&str> = answer.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let first = lines.first().filter(|line| !line.starts_with('>'));
        first.and_then(|line| self.meant(line)).or_else(|| below_quotation(&lines).and_then(|line| self.meant(line)))
    }

    fn meant(&self, line: &str) -> Option<&Entry> {
        let line = Words::of(&line.chars().map(western).collect::<String>());
        let words: Vec<&str> = line.each().collect();
        let mut numbers = words.iter().filter(|word| word.bytes().all(|c| c.is_ascii_digit()));
        // A sentence with a number in it is no choice, but "number 2, please" is one.
        let number = numbers.next().filter(|_| words.len() <= 3 && numbers.next().is_none());
        if let Some(entry) = number.and_then(|number| number.parse::<usize>().ok()).and_then(|number| self.at(number)) {
            return Some(entry);
        }
        let said = |label: &String| {
            let label = Words::of(label);
            let label: Vec<&str> = label.each().collect();
            !label.is_empty() && label == words
        };
        let mut labelled = self.entries.iter().filter(|entry| entry.labels.values().any(said));
        labelled.next().filter(|_| labelled.next().is_none())
    }

    fn at(&self, number: usize) -> Option<&Entry> {
        self.entries.get(number.checked_sub(1)?)
    }
}

/// The first line below a quotation that an answer begins with, its line of attribution ("On Monday Ana wrote:") too.
fn below_quotation<'a>(lines: &[&'a str]) -> Option<&'a str> {
    let quoted = lines.iter().take(4).position(|line| line.starts_with('>'))?;
    lines.get(quoted..)?.iter().find(|line| !line.starts_with('>')).copied()
}

/// Arabic-Indic digits and those of Persian and Urdu, as the others write them.
fn western(c: char) -> char {
    let digit = match c {
        '٠'..='٩' => u32::from(c) - u32::from('٠'),
        '۰'..='۹' => u32::from(c) - u32::from('۰'),
        _ => return c,
    };
    char::from_digit(digit, 10).unwrap_or(c)
}

fn sorry(language: &str) -> &'static str {
    match language {
        "ar" => "عذرًا، لم نفهم إجابتك. يرجى الرد برقم واحد من القائمة.",
        "es" => "Lo sentimos, no hemos entendido su respuesta. Responda con un número de la lista, por favor.",
        "pt" => "Desculpe, não entendemos a sua resposta. Responda com um número da lista, por favor.",
        _ => "Sorry, we did not understand your answer. Please answer with one number of the list.",
    }
}

#[cfg(test)]
#[path = "menu_tests.rs"]
mod tests;
