//! The engine against an oracle that steps minute by minute: around every transition of every zone from 2000 to 2040, and
//! anywhere at random.
//!
//! Zones that have the same transitions (aliases) are looked at once. Each transition gets a week of its own, whose shifts begin and
//! end near it, and six hours of minutes with it in the middle.
#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions themselves")]

use std::collections::BTreeMap;

use diwan_hours::{Hours, Schedule, Shift};
use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};
use proptest::prelude::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Which minutes of a week are worked, Monday 00:00 first; known apart from the engine's own arithmetic.
struct Oracle<'a> {
    schedule: &'a Schedule,
    zone: &'a TimeZone,
}

impl Oracle<'_> {
    fn is_open(&self, at: Timestamp) -> bool {
        let wall = at.to_zoned(self.zone.clone()).datetime();
        (0..=1).any(|days_ago| {
            let day = wall.date().checked_sub(jiff::Span::new().days(days_ago)).unwrap();
            let place = usize::try_from(day.weekday().to_monday_zero_offset()).unwrap();
            !self.schedule.holidays.contains(&day)
                && self.schedule.week[place].iter().any(|shift| {
                    let midnight = day.at(0, 0, 0, 0);
                    let start = midnight.checked_add(MINUTE * i32::from(shift.start)).unwrap();
                    let days = i32::from(shift.end <= shift.start);
                    let end = midnight.checked_add(MINUTE * (i32::from(shift.end) + days * 1440)).unwrap();
                    start <= wall && wall < end
                })
        })
    }
}

/// Compares state and changes over so many minutes.
fn compare(schedule: &Schedule, name: &str, from: Timestamp, minutes: i32) {
    let zone = TimeZone::get(name).unwrap();
    let (hours, oracle) = (Hours::new(schedule.clone(), name), Oracle { schedule, zone: &zone });
    let mut open = oracle.is_open(from);
    assert_eq!(hours.is_open(from), open, "{name} {from} {schedule:?}");
    let mut next = hours.next_change(from);
    for passed in 1..=minutes {
        let at = from + MINUTE * passed;
        let now = oracle.is_open(at);
        assert_eq!(hours.is_open(at), now, "{name} {at} {schedule:?}");
        let expected = (now != open).then_some(at);
        assert_eq!(next.filter(|next| *next <= at), expected, "{name} {at} {schedule:?}");
        if expected.is_some() {
            next = hours.next_change(at);
        }
        open = now;
    }
}

/// A small generator of its own, so that each transition always gets the same week.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> i16 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i16::try_from((self.0 >> 33) % limit).unwrap()
    }
}

/// A week in which the days around `at` have shifts that begin and end within three hours of it, by the clock before it.
fn week_near(at: Timestamp, zone: &TimeZone, numbers: &mut Numbers) -> Schedule {
    let wall = (at - MINUTE).to_zoned(zone.clone()).datetime();
    let centre = i16::from(wall.hour()) * 60 + i16::from(wall.minute()) + 1;
    let mut schedule = Schedule::default();
    for day in Weekday::Monday.cycle_forward().take(7) {
        let mut bounds: Vec<i16> =
            (0..numbers.below(4) * 2 + 2).map(|_| (centre + numbers.below(72) * 5 - 180).rem_euclid(1440)).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let mut shifts: Vec<Shift> =
            bounds.chunks_exact(2).map(|pair| Shift { start: pair[0], end: pair[1] }).collect();
        // Every other day the last shift passes midnight.
        if let Some(last) = shifts.last_mut().filter(|_| numbers.below(2) == 0) {
            last.end = numbers.below(240).min(last.start);
        }
        schedule.set(day, shifts);
    }
    if numbers.below(5) == 0 {
        schedule.holidays.insert(wall.date());
    }
    schedule
}

fn transitions(zone: &TimeZone) -> Vec<(Timestamp, i32)> {
    let (from, until): (Timestamp, Timestamp) =
        ("2000-01-01T00:00Z".parse().unwrap(), "2041-01-01T00:00Z".parse().unwrap());
    zone.following(from)
        .take_while(|transition| transition.timestamp() < until)
        .map(|transition| (transition.timestamp(), transition.offset().seconds()))
        .collect()
}

/// Each zone whose clock ever jumps, once for all its aliases.
fn zones() -> BTreeMap<Vec<(Timestamp, i32)>, String> {
    let names = jiff::tz::db().available().map(|name| name.as_str().to_owned());
    let zones = names.filter_map(|name| Some((transitions(&TimeZone::get(&name).ok()?), name)));
    zones.filter(|(transitions, _)| !transitions.is_empty()).collect()
}

#[test]
fn around_every_transition_of_every_zone_the_engine_and_the_oracle_agree() {
    let zones: Vec<_> = zones().into_iter().collect();
    assert!(zones.len() > 100, "only {} zones with transitions: is there a time zone database?", zones.len());
    // One part for each thread.
    std::thread::scope(|scope| {
        for part in 0..4 {
            let zones = &zones;
            scope.spawn(move || {
                for (transitions, name) in zones.iter().skip(part).step_by(4) {
                    let zone = TimeZone::get(name).unwrap();
                    for (at, _) in transitions {
                        let mut numbers = Numbers(at.as_second().unsigned_abs() ^ 0x9e37_79b9);
                        let schedule = week_near(*at, &zone, &mut numbers);
                        // Whole minutes: the files of the database also hold a transition at the end of 32 bits, where nothing jumps.
                        let from = Timestamp::from_second((at.as_second().div_euclid(60) - 180) * 60).unwrap();
                        compare(&schedule, name, from, 360);
                    }
                }
            });
        }
    });
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let bounds = prop::collection::btree_set(0_i16..1440, 0..=8);
    let holidays = prop::collection::btree_set(0_i64..15_000, 0..4);
    (prop::collection::vec((bounds, any::<bool>()), 7), holidays).prop_map(|(days, holidays)| {
        let mut schedule = Schedule::default();
        for (day, (bounds, over_midnight)) in Weekday::Monday.cycle_forward().zip(days) {
            let bounds: Vec<i16> = bounds.into_iter().collect();
            let mut shifts: Vec<Shift> =
                bounds.chunks_exact(2).map(|pair| Shift { start: pair[0], end: pair[1] }).collect();
            if let Some(last) = shifts.last_mut().filter(|_| over_midnight) {
                last.end = last.start / 2;
            }
            schedule.set(day, shifts);
        }
        let first = jiff::civil::date(2000, 1, 1);
        schedule.holidays = holidays.into_iter().map(|day| first + jiff::Span::new().days(day)).collect();
        schedule
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anywhere_else_they_agree_too(schedule in schedule(), zone in 0_usize..10_000, minute in 0_i64..21_500_000, more in 0_usize..4) {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let name = &names[zone % names.len()];
        prop_assume!(TimeZone::get(name).is_ok_and(|zone| !zone.is_unknown()));
        let from = Timestamp::from_second(946_684_800 + minute * 60).unwrap();
        let mut schedule = schedule;
        // Holidays that matter: within the days that are compared.
        for day in 0..more {
            let date = (from + SignedDuration::from_hours(24 * i64::try_from(day).unwrap() * 2)).to_zoned(TimeZone::UTC).date();
            schedule.holidays.insert(date);
        }
        compare(&schedule, name, from, 9 * 1440);
    }
}
