//! What customers get who write while a team is closed: its text, with the time at which the team is back as the reader writes it.

use std::collections::BTreeMap;

use diwan_fault::Language;
use diwan_proto::team::v1 as proto;
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// What becomes the time.
const PLACEHOLDER: &str = "{opens_at}";

/// The automatic reply of a team that has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutomaticReply {
    /// Own texts by the tag of their language.
    texts: BTreeMap<String, String>,
}

impl AutomaticReply {
    /// As the team service says it; `None`: there is none.
    pub fn of_proto(message: Option<&proto::AutomaticReply>) -> Option<Self> {
        let texts = message.filter(|message| message.enabled)?.texts.iter();
        Some(Self { texts: texts.map(|text| (text.language.clone(), text.text.clone())).collect() })
    }

    /// What it says in a language of a team that is back at `opens_at` by the clock of its zone (IANA).
    pub fn text(&self, language: Language, opens_at: Timestamp, zone: &str) -> String {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let text = self.texts.get(language.tag()).map_or_else(|| built_in(language), String::as_str);
        text.replace(PLACEHOLDER, &time(language, &opens_at.to_zoned(zone)))
    }
}

fn built_in(language: Language) -> &'static str {
    match language {
        Language::Ar => "شكرًا لرسالتكم. نحن خارج أوقات العمل حاليًا، وسنعود يوم {opens_at}. سنردّ عليكم حينئذٍ.",
        Language::En => {
            "Thank you for your message. We are closed at the moment and will be back on {opens_at}. We will answer you then."
        }
        Language::Es => {
            "Gracias por su mensaje. En este momento estamos fuera de horario y volveremos el {opens_at}. Le responderemos entonces."
        }
        Language::Pt => {
            "Obrigado pela sua mensagem. Neste momento estamos fora do horário de atendimento. Voltamos em: {opens_at}. Responderemos nessa altura."
        }
    }
}

/// Day and time without the year, as CLDR has them (skeletons MMMMEEEEd and jm, with GMT and the offset behind).
fn time(language: Language, at: &Zoned) -> String {
    let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or_default();
    let month = usize::try_from(at.month() - 1).unwrap_or_default();
    let (weekday, month) = match language {
        Language::Ar => (WEEKDAYS_AR[day], MONTHS_AR[month]),
        Language::En => (WEEKDAYS_EN[day], MONTHS_EN[month]),
        Language::Es => (WEEKDAYS_ES[day], MONTHS_ES[month]),
        Language::Pt => (WEEKDAYS_PT[day], MONTHS_PT[month]),
    };
    let (date, hour, minute, morning) = (at.day(), at.hour(), at.minute(), at.hour() < 12);
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let offset = offset(at);
    match language {
        Language::Ar => {
            let half = if morning { "ص" } else { "م" };
            arabic_digits(&format!("{weekday}، {date} {month} في {twelve}:{minute:02} {half} (غرينتش{offset})"))
        }
        Language::En => {
            let half = if morning { "AM" } else { "PM" };
            format!("{weekday}, {month} {date} at {twelve}:{minute:02} {half} (GMT{offset})")
        }
        Language::Es => {
            let article = if hour == 1 { "la" } else { "las" };
            format!("{weekday}, {date} de {month}, a {article} {hour}:{minute:02} (GMT{offset})")
        }
        Language::Pt => format!("{weekday}, {date} de {month}, às {hour:02}:{minute:02} (GMT{offset})"),
    }
}

/// `+2`, `+5:30`, `-3`, or nothing in Greenwich.
fn offset(at: &Zoned) -> String {
    let minutes = at.offset().seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    match (minutes.abs() / 60, minutes.abs() % 60) {
        (0, 0) => String::new(),
        (hours, 0) => format!("{sign}{hours}"),
        (hours, minutes) => format!("{sign}{hours}:{minutes:02}"),
    }
}

fn arabic_digits(text: &str) -> String {
    let digit = |c: char| c.to_digit(10).and_then(|value| char::from_u32(0x0660 + value)).unwrap_or(c);
    text.chars().map(digit).collect()
}

const WEEKDAYS_AR: [&str; 7] = ["الاثنين", "الثلاثاء", "الأربعاء", "الخميس", "الجمعة", "السبت", "الأحد"];
const WEEKDAYS_EN: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const WEEKDAYS_ES: [&str; 7] = ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"];
const WEEKDAYS_PT: [&str; 7] =
    ["segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"];
const MONTHS_AR: [&str; 12] =
    ["يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"];
const MONTHS_EN: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MONTHS_ES: [&str; 12] = [
    "enero",
    "febrero",
    "marzo",
    "abril",
    "mayo",
    "junio",
    "julio",
    "agosto",
    "septiembre",
    "octubre",
    "noviembre",
    "diciembre",
];
const MONTHS_PT: [&str; 12] = [
    "janeiro",
    "fevereiro",
    "março",
    "abril",
    "maio",
    "junho",
    "julho",
    "agosto",
    "setembro",
    "outubro",
    "novembro",
    "dezembro",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn own(language: &str, text: &str) -> AutomaticReply {
        let text = proto::AutomaticReplyText { language: language.into(), text: text.into() };
        AutomaticReply::of_proto(Some(&proto::AutomaticReply { enabled: true, texts: vec![text] })).unwrap()
    }

    #[test]
    fn the_time_is_written_as_its_reader_does_by_the_clock_of_the_team() {
        // A Monday, 09:00 in Cairo, where summer time is over.
        let opens_at: Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
        for (language, expected) in [
            (Language::En, "Monday, November 23 at 9:00 AM (GMT+2)"),
            (Language::Es, "lunes, 23 de noviembre, a las 9:00 (GMT+2)"),
            (Language::Pt, "segunda-feira, 23 de novembro, às 09:00 (GMT+2)"),
            (Language::Ar, "الاثنين، ٢٣ نوفمبر في ٩:٠٠ ص (غرينتش+٢)"),
        ] {
            let said = own(language.tag(), "[{opens_at}]").text(language, opens_at, "Africa/Cairo");
            assert_eq!(said, format!("[{expected}]"));
            let built_in = AutomaticReply::default().text(language, opens_at, "Africa/Cairo");
            assert!(built_in.contains(expected) && !built_in.contains('{'), "{built_in}");
        }
    }

    #[test]
    fn noon_midnight_and_odd_offsets_are_right() {
        let at = |at: &str, zone: &str, language| {
            time(language, &at.parse::<Timestamp>().unwrap().to_zoned(TimeZone::get(zone).unwrap()))
        };
        assert_eq!(at("2026-07-05T00:30:00Z", "UTC", Language::En), "Sunday, July 5 at 12:30 AM (GMT)");
        assert_eq!(at("2026-07-05T06:30:00Z", "Asia/Kolkata", Language::En), "Sunday, July 5 at 12:00 PM (GMT+5:30)");
        assert_eq!(
            at("2026-07-05T04:00:00Z", "America/Sao_Paulo", Language::Es),
            "domingo, 5 de julio, a la 1:00 (GMT-3)"
        );
        assert_eq!(at("2026-07-05T16:15:00Z", "Africa/Cairo", Language::Ar), "الأحد، ٥ يوليو في ٧:١٥ م (غرينتش+٣)");
    }

    #[test]
    fn one_that_is_off_is_none_and_an_own_text_stands_only_for_its_language() {
        assert_eq!(AutomaticReply::of_proto(None), None);
        assert_eq!(AutomaticReply::of_proto(Some(&proto::AutomaticReply::default())), None);
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(own("es", "Hasta luego").text(Language::Es, at, "UTC"), "Hasta luego");
        assert!(own("es", "Hasta luego").text(Language::En, at, "No/Zone").starts_with("Thank you"));
    }
}
