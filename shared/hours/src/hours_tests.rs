//! What the rule means where the clock jumps, at midnight and on holidays.

use jiff::civil::Weekday;

use super::*;
use crate::Shift;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn hours(zone: &str, days: &[(Weekday, &[(i16, i16)])], holidays: &[&str]) -> Hours {
    let mut schedule = Schedule::default();
    for (day, shifts) in days {
        schedule.set(*day, shifts.iter().map(|&(start, end)| Shift { start, end }).collect());
    }
    schedule.holidays = holidays.iter().map(|date| date.parse().unwrap()).collect();
    Hours::new(schedule, zone)
}

/// Every change after `from`, up to `until`.
fn changes(hours: &Hours, from: &str, until: &str) -> Vec<String> {
    let (mut at, until) = (time(from), time(until));
    let mut changes = Vec::new();
    while let Some(next) = hours.next_change(at).filter(|next| *next <= until) {
        changes.push(next.to_string());
        at = next;
    }
    changes
}

#[test]
fn a_shift_past_midnight_is_one_stretch_and_a_day_off_has_none() {
    let night = hours("Africa/Lagos", &[(Weekday::Friday, &[(22 * 60, 6 * 60)])], &[]);
    let changed = changes(&night, "2026-11-16T00:00Z", "2026-11-23T00:00Z");
    assert_eq!(changed, ["2026-11-20T21:00:00Z", "2026-11-21T05:00:00Z"]);
    assert!(night.is_open(time("2026-11-20T21:00Z")) && night.is_open(time("2026-11-21T04:59:59.999999Z")));
    assert!(!night.is_open(time("2026-11-21T05:00Z")) && !night.is_open(time("2026-11-20T20:59:59Z")));
}

#[test]
fn a_shift_that_begins_in_the_skipped_hour_begins_when_the_clock_has_jumped() {
    // In Berlin 02:00 became 03:00 at 01:00Z.
    let early = hours("Europe/Berlin", &[(Weekday::Sunday, &[(2 * 60 + 30, 8 * 60)])], &[]);
    let changed = changes(&early, "2026-03-28T00:00Z", "2026-03-30T00:00Z");
    assert_eq!(changed, ["2026-03-29T01:00:00Z", "2026-03-29T06:00:00Z"]);
    let skipped = hours("Europe/Berlin", &[(Weekday::Sunday, &[(2 * 60, 3 * 60)])], &[]);
    assert_eq!(skipped.next_opening(time("2026-03-28T00:00Z")), Some(time("2026-04-05T00:00Z")));
}

#[test]
fn an_hour_that_the_clock_repeats_is_worked_twice() {
    // In Berlin 03:00 became 02:00 at 01:00Z.
    let whole = hours("Europe/Berlin", &[(Weekday::Sunday, &[(60, 8 * 60)])], &[]);
    let changed = changes(&whole, "2026-10-24T00:00Z", "2026-10-26T00:00Z");
    assert_eq!(changed, ["2026-10-24T23:00:00Z", "2026-10-25T07:00:00Z"]);
    let half = hours("Europe/Berlin", &[(Weekday::Sunday, &[(2 * 60, 2 * 60 + 30)])], &[]);
    let twice = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(changes(&half, "2026-10-24T00:00Z", "2026-10-26T00:00Z"), twice);
}

#[test]
fn a_holiday_cancels_what_begins_on_it_and_not_what_began_on_its_eve() {
    let nights = [(Weekday::Thursday, [(22 * 60, 6 * 60)]), (Weekday::Friday, [(22 * 60, 6 * 60)])];
    let nights: Vec<(Weekday, &[(i16, i16)])> = nights.iter().map(|(day, shifts)| (*day, shifts.as_slice())).collect();
    let hours = hours("UTC", &nights, &["2026-12-25"]);
    let changed = changes(&hours, "2026-12-24T00:00Z", "2026-12-27T00:00Z");
    assert_eq!(changed, ["2026-12-24T22:00:00Z", "2026-12-25T06:00:00Z"]);
}

#[test]
fn a_day_that_a_zone_never_had_has_no_shifts() {
    // Samoa went from the 29th to the 31st of December 2011, a Friday left out.
    let fridays = hours("Pacific/Apia", &[(Weekday::Friday, &[(9 * 60, 17 * 60)])], &[]);
    let next = fridays.next_opening(time("2011-12-24T12:00Z")).unwrap();
    assert_eq!(next, time("2012-01-05T19:00Z"));
}

#[test]
fn whoever_never_closes_has_no_next_change() {
    let days = Weekday::Monday.cycle_forward().take(7);
    let days: Vec<(Weekday, &[(i16, i16)])> = days.map(|day| (day, [(0, 0)].as_slice())).collect();
    let always = hours("Asia/Riyadh", &days, &[]);
    let now = time("2026-11-22T10:00Z");
    assert_eq!((always.next_change(now), always.next_opening(now)), (None, Some(now)));
    let with_holiday = hours("Asia/Riyadh", &days, &["2027-09-23"]);
    let day_off = ["2027-09-22T21:00:00Z", "2027-09-23T21:00:00Z"];
    assert_eq!(changes(&with_holiday, "2026-11-22T10:00Z", "2027-12-01T00:00Z"), day_off);
}

#[test]
fn a_year_of_holidays_is_looked_beyond() {
    let days: Vec<String> = (0..366)
        .map(|day| (jiff::civil::date(2026, 12, 1).saturating_add(jiff::Span::new().days(day))).to_string())
        .collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let hours = hours("America/Sao_Paulo", &[(Weekday::Monday, &[(9 * 60, 10 * 60)])], &days);
    assert_eq!(hours.next_opening(time("2026-12-01T00:00Z")), Some(time("2027-12-06T12:00Z")));
}

#[test]
fn a_zone_that_this_machine_does_not_know_counts_as_utc() {
    let lost = hours("Europe/Atlantis", &[(Weekday::Friday, &[(9 * 60, 17 * 60)])], &[]);
    assert_eq!(lost.next_opening(time("2026-11-20T08:00Z")), Some(time("2026-11-20T09:00Z")));
}
