//! By the clock of a team that works on weekdays from 9 to 17.

use diwan_hours::{Schedule, Shift};

use super::*;

fn at(time: &str) -> Timestamp {
    // A Friday, a Saturday, a Sunday and a Monday.
    let (day, time) = time.split_once(' ').unwrap();
    let date = match day {
        "fri" => "2026-11-20",
        "sat" => "2026-11-21",
        "sun" => "2026-11-22",
        _ => "2026-11-23",
    };
    format!("{date}T{time}:00Z").parse().unwrap()
}

fn nine_to_five() -> Hours {
    let shift = Shift { start: 9 * 60, end: 17 * 60 };
    let mut schedule = Schedule::default();
    for day in schedule.week.iter_mut().take(5) {
        day.push(shift);
    }
    Hours::new(schedule, "UTC")
}

fn rules(minutes: u64, when_offline: bool) -> Rules {
    let no_answer_after = (minutes > 0).then(|| Duration::from_mins(minutes));
    Rules { no_answer_after, when_offline, hours: Some(nine_to_five()) }
}

fn held(since: &str, assigned: &str) -> Held {
    Held { unanswered_since: Some(at(since)), assigned_at: at(assigned), offline_since: None, others: true }
}

#[test]
fn minutes_without_an_answer_count_from_when_he_has_it_and_only_while_the_team_works() {
    let rules = rules(30, false);
    for (since, assigned, due) in [
        ("fri 10:00", "fri 10:05", "fri 10:35"),
        ("fri 10:00", "fri 08:00", "fri 10:30"),
        ("fri 16:30", "fri 16:30", "fri 17:00"),
        ("fri 16:45", "fri 16:45", "mon 09:15"),
        ("sat 12:00", "fri 12:00", "mon 09:30"),
    ] {
        let held = held(since, assigned);
        let before = at(assigned).max(at(since));
        assert_eq!(verdict(held, &rules, before), Verdict::StaysUntil(at(due)), "{since} {assigned}");
        let expected =
            if due == "fri 17:00" { Verdict::StaysUntil(at("mon 09:00")) } else { Verdict::Goes(Cause::NoAnswer) };
        assert_eq!(verdict(held, &rules, at(due)), expected, "{since} {assigned}");
    }
}

#[test]
fn what_is_due_while_the_team_is_closed_stays_until_it_opens() {
    let late = held("fri 10:00", "fri 10:00");
    assert_eq!(verdict(late, &rules(30, false), at("sat 10:00")), Verdict::StaysUntil(at("mon 09:00")));
}

#[test]
fn what_nobody_else_could_get_stays_and_is_looked_at_again_after_as_long() {
    let alone = Held { others: false, ..held("fri 10:00", "fri 10:00") };
    assert_eq!(verdict(alone, &rules(30, false), at("fri 10:31")), Verdict::StaysUntil(at("fri 11:01")));
    assert_eq!(verdict(alone, &rules(30, false), at("fri 16:50")), Verdict::StaysUntil(at("mon 09:20")));
}

#[test]
fn what_an_agent_leaves_unanswered_goes_at_once_while_the_team_works_and_else_when_he_does_not_come_in_the_morning() {
    let gone =
        |offline: &str| Held { offline_since: Some(at(offline)), others: false, ..held("fri 10:00", "fri 10:00") };
    let rules = rules(0, true);
    assert_eq!(verdict(gone("fri 11:00"), &rules, at("fri 11:00")), Verdict::Goes(Cause::HolderOffline));
    assert_eq!(verdict(gone("fri 17:10"), &rules, at("fri 17:10")), Verdict::StaysUntil(at("mon 09:05")));
    assert_eq!(verdict(gone("fri 17:10"), &rules, at("mon 09:05")), Verdict::Goes(Cause::HolderOffline));
    assert_eq!(
        verdict(gone("fri 11:00"), &rules, at("fri 17:10")),
        Verdict::StaysUntil(at("mon 09:05")),
        "looked at late"
    );
    let back = Held { offline_since: None, ..gone("fri 17:10") };
    assert_eq!(verdict(back, &rules, at("mon 09:05")), Verdict::Stays);
    let given_meanwhile = Held { assigned_at: at("fri 12:00"), ..gone("fri 11:00") };
    assert_eq!(verdict(given_meanwhile, &rules, at("fri 13:00")), Verdict::Stays, "somebody meant it so");
    let wrote_later = Held { unanswered_since: Some(at("fri 18:00")), ..gone("fri 16:00") };
    assert_eq!(verdict(wrote_later, &rules, at("fri 18:00")), Verdict::StaysUntil(at("mon 09:05")));
}

#[test]
fn nothing_happens_to_what_is_answered_or_where_the_team_wants_nothing() {
    let answered =
        Held { unanswered_since: None, offline_since: Some(at("fri 11:00")), ..held("fri 10:00", "fri 10:00") };
    assert_eq!(verdict(answered, &rules(1, true), at("fri 12:00")), Verdict::Stays);
    assert_eq!(verdict(held("fri 10:00", "fri 10:00"), &rules(0, false), at("fri 12:00")), Verdict::Stays);
}

#[test]
fn the_earlier_of_both_counts_and_a_team_without_hours_always_works() {
    let gone = Held { offline_since: Some(at("fri 17:10")), ..held("fri 16:45", "fri 16:45") };
    assert_eq!(verdict(gone, &rules(30, true), at("fri 17:10")), Verdict::StaysUntil(at("mon 09:05")));
    assert_eq!(verdict(gone, &rules(18, true), at("fri 17:10")), Verdict::StaysUntil(at("mon 09:03")));
    let always = Rules { hours: None, ..rules(30, false) };
    assert_eq!(verdict(held("sat 10:00", "sat 10:00"), &always, at("sat 10:30")), Verdict::Goes(Cause::NoAnswer));
}

#[test]
fn of_work_that_takes_years_no_look_reckons_more_than_one_ahead_and_it_goes_when_the_work_is_done() {
    let hours = |minutes: i16| {
        let mut schedule = Schedule::default();
        schedule.week[0].push(Shift { start: 9 * 60, end: 9 * 60 + minutes });
        Some(Hours::new(schedule, "UTC"))
    };
    let of = |minutes, work| Rules { no_answer_after: Some(work), when_offline: false, hours: hours(minutes) };
    let held = held("fri 10:00", "fri 10:05");
    // 10,080 weeks.
    let now = at("fri 11:00");
    let Verdict::StaysUntil(next) = verdict(held, &of(1, Duration::from_hours(7 * 24)), now) else { unreachable!() };
    assert!(next > now && next < after(now, SIGHT + Duration::from_hours(8 * 24)), "{next}");
    // An hour a week, for a hundred weeks.
    let (rules, mut now, mut looks) = (of(60, Duration::from_hours(100)), now, 0);
    while let Verdict::StaysUntil(next) = verdict(held, &rules, now) {
        assert!(next > now);
        (now, looks) = (next, looks + 1);
    }
    assert_eq!(verdict(held, &rules, now), Verdict::Goes(Cause::NoAnswer));
    // Where the last hour is over, the team is closed: it is in the next one.
    let done = after(at("mon 09:00"), Duration::from_hours(100 * 7 * 24));
    assert_eq!((now, looks), (done, 3));
}
