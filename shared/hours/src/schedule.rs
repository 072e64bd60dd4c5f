//! The week of a team and its holidays, by the clock on the wall.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, Weekday};
use serde::{Deserialize, Serialize};

/// The most shifts of one day.
pub const MOST_SHIFTS: usize = 4;
/// The most holidays of one team.
pub const MOST_HOLIDAYS: usize = 366;
/// Minutes of a day on the wall.
pub(crate) const DAY: i16 = 24 * 60;

/// A stretch of work, in minutes since midnight, each 0 to 1,439.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shift {
    /// When it begins.
    pub start: i16,
    /// When it ends; not later than `start`: on the following day.
    pub end: i16,
}

impl Shift {
    /// When it ends, counted from the midnight at which its day began: up to 48 hours.
    pub fn until(self) -> i16 {
        if self.end > self.start { self.end } else { self.end + DAY }
    }
}

/// When a team works. A day without shifts is a day off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The shifts of each day, Monday first.
    pub week: [Vec<Shift>; 7],
    /// Dates on which no shift begins.
    pub holidays: BTreeSet<Date>,
}

impl Schedule {
    /// The shifts that begin on each of the days of a week.
    pub fn set(&mut self, day: Weekday, shifts: Vec<Shift>) {
        self.week[usize::from(day.to_monday_zero_offset().unsigned_abs())] = shifts;
    }

    /// The shifts that begin on a date.
    fn beginning_on(&self, date: Date) -> &[Shift] {
        if self.holidays.contains(&date) {
            return &[];
        }
        &self.week[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
    }

    /// The shifts that concern a date, in minutes since its midnight: those of the day before begin below zero.
    fn around(&self, date: Date) -> impl Iterator<Item = (i16, i16)> {
        let eve = date.yesterday().map(|eve| self.beginning_on(eve)).unwrap_or_default();
        let eve = eve.iter().map(|shift| (shift.start - DAY, shift.until() - DAY));
        eve.chain(self.beginning_on(date).iter().map(|shift| (shift.start, shift.until())))
    }

    /// Whether a shift is under way while the clock shows `wall`.
    pub(crate) fn covers(&self, wall: DateTime) -> bool {
        let minute = minute(wall);
        self.around(wall.date()).any(|(start, end)| start <= minute && minute < end)
    }

    /// The next beginning or end of a shift after the minute that the clock shows, in minutes since midnight; the end of the day
    /// where there is none in it.
    pub(crate) fn boundary(&self, wall: DateTime) -> i16 {
        let minute = minute(wall);
        let boundaries = self.around(wall.date()).flat_map(|(start, end)| [start, end]);
        boundaries.filter(|boundary| *boundary > minute).fold(DAY, i16::min)
    }
}

/// The minute of the day.
pub(crate) fn minute(wall: DateTime) -> i16 {
    i16::from(wall.hour()) * 60 + i16::from(wall.minute())
}
