//! Schedules as messages.

use std::collections::BTreeSet;

use diwan_fault::Fields;
use diwan_proto::team::v1::{self as proto, WorkingDay, WorkingHours};
use jiff::civil::{Date, Weekday};

use crate::schedule::{DAY, MOST_HOLIDAYS, MOST_SHIFTS, Schedule, Shift};

/// Reads and checks working hours; bad fields are named below `field`.
pub fn read(fields: &mut Fields, field: &str, message: &WorkingHours) -> Schedule {
    let mut schedule = Schedule { holidays: holidays(fields, field, &message.holidays), ..Schedule::default() };
    if !fields.entries(&format!("{field}.days"), message.days.len(), 1..=7) {
        return schedule;
    }
    let mut seen = BTreeSet::new();
    for (place, day) in message.days.iter().enumerate() {
        let path = format!("{field}.days[{place}]");
        let shifts = shifts(fields, &format!("{path}.shifts"), &day.shifts);
        match weekday(day).filter(|_| seen.insert(day.weekday)) {
            Some(weekday) => schedule.set(weekday, shifts),
            None => fields.refuse(&format!("{path}.weekday"), "FIELD_WEEKDAY", &[]),
        }
    }
    schedule
}

/// The schedule of a message that team has checked; a part that this version does not understand is left out.
pub fn trusted(message: &WorkingHours) -> Schedule {
    read(&mut Fields::new(), "", message)
}

/// The message of a schedule: the working days, Monday first.
pub fn write(schedule: &Schedule) -> WorkingHours {
    let days = (1..).zip(&schedule.week).filter(|(_, shifts)| !shifts.is_empty());
    let day = |(weekday, shifts): (i32, &Vec<Shift>)| WorkingDay {
        weekday,
        shifts: shifts
            .iter()
            .map(|shift| proto::Shift { start_minute: shift.start.into(), end_minute: shift.end.into() })
            .collect(),
    };
    WorkingHours { days: days.map(day).collect(), holidays: schedule.holidays.iter().map(Date::to_string).collect() }
}

fn weekday(day: &WorkingDay) -> Option<Weekday> {
    Weekday::from_monday_one_offset(i8::try_from(day.weekday).ok()?).ok()
}

fn shifts(fields: &mut Fields, field: &str, messages: &[proto::Shift]) -> Vec<Shift> {
    if !fields.entries(field, messages.len(), 1..=MOST_SHIFTS) {
        return Vec::new();
    }
    let mut shifts: Vec<Shift> = Vec::with_capacity(messages.len());
    for (place, message) in messages.iter().enumerate() {
        let path = format!("{field}[{place}]");
        let mut minute = |name: &str, value| {
            // Within the range, so it fits.
            i16::try_from(fields.number(&format!("{path}.{name}"), value, 0..=i32::from(DAY) - 1)).unwrap_or_default()
        };
        let shift = Shift {
            start: minute("start_minute", message.start_minute),
            end: minute("end_minute", message.end_minute),
        };
        if shifts.last().is_some_and(|before| before.until() > shift.start) {
            fields.refuse(&path, "FIELD_SHIFT_ORDER", &[]);
        }
        shifts.push(shift);
    }
    shifts
}

fn holidays(fields: &mut Fields, field: &str, values: &[String]) -> BTreeSet<Date> {
    let mut dates = BTreeSet::new();
    if !fields.entries(&format!("{field}.holidays"), values.len(), 0..=MOST_HOLIDAYS) {
        return dates;
    }
    for (place, value) in values.iter().enumerate() {
        // Only this spelling: the parser would also take a time behind it.
        match value.parse::<Date>().ok().filter(|date| date.to_string() == *value) {
            Some(date) => _ = dates.insert(date),
            None => fields.refuse(&format!("{field}.holidays[{place}]"), "FIELD_DATE", &[]),
        }
    }
    dates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(weekday: i32, shifts: &[(i32, i32)]) -> WorkingDay {
        let shift = |&(start_minute, end_minute): &(i32, i32)| proto::Shift { start_minute, end_minute };
        WorkingDay { weekday, shifts: shifts.iter().map(shift).collect() }
    }

    fn refused(hours: &WorkingHours) -> Vec<String> {
        let mut fields = Fields::new();
        read(&mut fields, "hours", hours);
        let fault = fields.finish().unwrap_err();
        fault.fields().iter().map(|violation| violation.field.clone()).collect()
    }

    #[test]
    fn hours_survive_the_way_through_the_message() {
        let hours = WorkingHours {
            days: vec![day(1, &[(540, 720), (780, 1020)]), day(7, &[(1320, 360)])],
            holidays: vec!["2026-12-25".into(), "2027-01-01".into()],
        };
        let mut fields = Fields::new();
        let schedule = read(&mut fields, "hours", &hours);
        fields.finish().unwrap();
        assert_eq!(write(&schedule), hours);
    }

    #[test]
    fn every_bad_part_is_named_with_its_place() {
        let days = vec![
            day(1, &[(540, 720), (700, 800)]),
            day(1, &[(0, 1440)]),
            day(8, &[]),
            day(2, &[(600, 60), (700, 800)]),
        ];
        let holidays = vec!["2026-02-29".into(), "2026-12-25".into(), "2026-12-25T09:00".into()];
        assert_eq!(
            refused(&WorkingHours { days, holidays }),
            [
                "hours.holidays[0]",
                "hours.holidays[2]",
                "hours.days[0].shifts[1]",
                "hours.days[1].shifts[0].end_minute",
                "hours.days[1].weekday",
                "hours.days[2].shifts",
                "hours.days[2].weekday",
                "hours.days[3].shifts[1]",
            ]
        );
    }

    #[test]
    fn a_week_without_a_working_day_or_a_day_of_five_shifts_is_refused() {
        assert_eq!(refused(&WorkingHours::default()), ["hours.days"]);
        let five = day(1, &[(0, 60), (60, 120), (120, 180), (180, 240), (240, 300)]);
        assert_eq!(refused(&WorkingHours { days: vec![five], holidays: Vec::new() }), ["hours.days[0].shifts"]);
        let many = vec!["2026-12-25".to_owned(); MOST_HOLIDAYS + 1];
        assert_eq!(refused(&WorkingHours { days: vec![day(1, &[(0, 0)])], holidays: many }), ["hours.holidays"]);
    }

    #[test]
    fn of_a_million_entries_the_list_is_named_and_nothing_in_it() {
        let of = |days, holidays| refused(&WorkingHours { days, holidays });
        assert_eq!(of(vec![WorkingDay::default(); 1_000_000], Vec::new()), ["hours.days"]);
        let shifts = vec![proto::Shift { start_minute: -1, end_minute: -1 }; 1_000_000];
        assert_eq!(of(vec![WorkingDay { weekday: 1, shifts }], Vec::new()), ["hours.days[0].shifts"]);
        assert_eq!(of(vec![day(1, &[(0, 0)])], vec![String::new(); 1_000_000]), ["hours.holidays"]);
    }

    #[test]
    fn the_reasons_have_their_texts() {
        for reason in ["FIELD_WEEKDAY", "FIELD_SHIFT_ORDER", "FIELD_DATE", "FIELD_ENTRIES"] {
            assert!(diwan_fault::has_texts(reason), "{reason}");
        }
    }
}
