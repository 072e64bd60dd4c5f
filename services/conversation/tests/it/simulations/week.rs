//! Days in which everything takes part that the routing knows, by a clock that moves between one thing and the next.

use std::time::Duration;

use diwan_proto::{
    conversation::v1::{
        AvailabilityState, CreateRoutingRuleRequest, IngestMessageRequest, Priority, RoutingConditions,
    },
    team::v1::{Shift, Team, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{Clock as _, MockClock};
use diwan_testkit::{Person, eventually};
use uuid::Uuid;

use super::{any, drawn, settings, simulate};
use crate::{
    acts::ahead,
    bot_calls::Robot,
    support::{Inbox, LIMIT, Office},
};

const ROUNDS: u64 = 250;
/// The bot is the first to read what has this word in it.
const WORD: &str = "robot";

/// Open from eight to eight but for the second day, which is a holiday; and an agent has ten minutes to answer.
fn hours(team: &mut Team) {
    let shifts = vec![Shift { start_minute: 8 * 60, end_minute: 20 * 60 }];
    let week = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let days = week.map(|weekday| WorkingDay { weekday: weekday.into(), shifts: shifts.clone() }).to_vec();
    team.working_hours = Some(WorkingHours { days, holidays: vec!["2026-11-24".into()] });
    team.time_zone = "UTC".into();
    (team.fallback, team.sticky_owner) = (true, true);
    (team.no_answer_after_minutes, team.reassign_when_offline) = (10, true);
}

/// Three teams, one of them to be archived, and those who work there.
struct Week<'a> {
    office: &'a Office,
    clock: &'a MockClock,
    agents: Vec<Person>,
    lead: Person,
    old: Uuid,
    other: Uuid,
    robot: Robot<'a>,
    topic: String,
    mails: Vec<IngestMessageRequest>,
    _inboxes: Vec<Inbox>,
}

impl<'a> Week<'a> {
    async fn begin(office: &'a Office, clock: &'a MockClock) -> Self {
        office.set_team(office.team, 2, |team| {
            hours(team);
            team.assignment_limit = 3;
        });
        office.until("select count(*) from teams where no_answer_after_minutes = 10", 1).await;
        let (old, other) = (office.second_team(2).await, office.further_team().await);
        let lead = office.lead_of(office.team).await;
        let (mut agents, mut inboxes) = (Vec::new(), Vec::new());
        for team in [office.team, office.team, office.team, old, old, other] {
            let agent = office.agent_of(team).await;
            inboxes.push(office.watch(&agent).await);
            agents.push(agent);
        }
        office.set_member(&agents[3], office.team, 1, true);
        let topic = office.topic("Lamps").await;
        let robot = office.robot().await;
        let rule = |conditions, bot_id: String, priority: Priority| CreateRoutingRuleRequest {
            conditions: Some(conditions),
            team_id: office.team.to_string(),
            bot_id,
            priority: priority.into(),
            ..Default::default()
        };
        let words = RoutingConditions { keywords: vec![WORD.into()], ..Default::default() };
        let lamps = RoutingConditions { topic_ids: vec![topic.clone()], ..Default::default() };
        office.try_rule(rule(lamps, String::new(), Priority::Urgent)).await.unwrap();
        office.try_rule(rule(words, robot.id.clone(), Priority::Low)).await.unwrap();
        let mails = Vec::new();
        Self { office, clock, agents, lead, old, other, robot, topic, mails, _inboxes: inboxes }
    }

    fn agent(&self, round: u64) -> &Person {
        &self.agents[usize::try_from(drawn(round + 3) % self.agents.len() as u64).unwrap()]
    }

    async fn arrives(&mut self, mail: IngestMessageRequest) {
        self.office.deliver(mail.clone()).await;
        self.mails.push(mail);
    }

    /// One thing happens. What does not fit the moment is refused, and changes nothing.
    async fn one(&mut self, round: u64) {
        let office = self.office;
        match drawn(round) % 20 {
            0..=4 => self.arrives(office.mail()).await,
            5 => self.arrives(office.mail_to(self.old)).await,
            6 => self.arrives(office.mail_to(self.other)).await,
            7..=9 => {
                self.arrives(IngestMessageRequest { text: WORD.into(), ..office.mail() }).await;
                // Now and then the bot is dead.
                if !drawn(round + 2).is_multiple_of(3) {
                    self.bot(round).await;
                }
            }
            10 if !self.mails.is_empty() => {
                let mail = &self.mails[usize::try_from(drawn(round + 1) % self.mails.len() as u64).unwrap()];
                if round.is_multiple_of(3) {
                    let from_email = mail.from_email.clone();
                    self.arrives(IngestMessageRequest { from_email, ..office.mail() }).await;
                } else {
                    office.answers(mail, "Once more").await;
                }
            }
            11 => {
                let Some((id, _)) = any(office, "QUEUED", round).await else { return };
                let priority = if round.is_multiple_of(2) { Priority::High } else { Priority::Low };
                drop(office.set_priority(&office.owner, id, priority).await);
            }
            12 => {
                let Some((id, _)) = any(office, "QUEUED", round).await else { return };
                drop(office.take(self.agent(round), id).await);
            }
            13 => {
                let state =
                    if round.is_multiple_of(3) { AvailabilityState::Watching } else { AvailabilityState::Active };
                drop(office.set_availability(self.agent(round), state).await);
            }
            _ => self.held(round).await,
        }
    }

    /// Something happens to one that is held.
    async fn held(&self, round: u64) {
        let office = self.office;
        let Some((id, holder)) = any(office, "OPEN", round).await else { return };
        let holder = self.agents.iter().find(|agent| Some(agent.user) == holder).unwrap_or(&office.owner);
        match drawn(round + 11) % 6 {
            0 | 1 => drop(office.close(holder, id).await),
            2 => drop(office.reply(holder, id, "Have you tried another one?").await),
            3 => drop(office.snooze(holder, id, ahead(self.clock.now(), Duration::from_mins(30))).await),
            4 => drop(office.assign(&self.lead, id, self.agent(round)).await),
            _ => drop(office.hand_over(holder, id, (Some(self.other), None)).await),
        }
    }

    /// The bot hands over all that waits for it: by the rules, with a topic or without.
    async fn bot(&self, round: u64) {
        let claimed = self.robot.claim().await;
        for turn in claimed.turns {
            let id = turn.conversation.unwrap().id.parse().unwrap();
            let topics: &[&str] = if round.is_multiple_of(2) { &[&self.topic] } else { &[] };
            drop(self.robot.hand_over(id, &claimed.claim_id, (None, topics, "")).await);
        }
    }

    /// Waits until everything whose time has come has been looked at.
    async fn looked(&self) {
        let due = "select (select count(*) from answer_timers where due_at <= $1::timestamptz)
                        + (select count(*) from bot_turns where due_at <= $1::timestamptz)";
        eventually("nothing is due", LIMIT, async || {
            let due = sqlx::query_scalar::<_, i64>(due).bind(self.clock.now().to_string());
            due.fetch_one(self.office.pool()).await.unwrap() == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_with_bots_holidays_leads_archiving_and_what_nobody_answered_are_reproduced_decision_by_decision() {
    let clock = MockClock::at("2026-11-23T09:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 3).await;
    let begun = clock.now();
    let mut week = Week::begin(&office, &clock).await;
    let mut middle = begun;
    for round in 0..ROUNDS {
        clock.advance(Duration::from_secs(30 + drawn(round + 5) % 1200));
        week.one(round).await;
        week.looked().await;
        match round {
            100 => {
                middle = clock.now();
                office.archive(week.old, office.team, 2);
            }
            170 => office.set_team(office.team, 3, |team| {
                hours(team);
                team.assignment_limit = 0;
            }),
            _ => {}
        }
    }
    office.until("select count(*) from teams where archived", 1).await;
    clock.advance(Duration::from_mins(1));
    let took_part: Vec<String> =
        sqlx::query_scalar("select cause from transitions group by cause").fetch_all(office.pool()).await.unwrap();
    for cause in ["BOT_HANDED_OVER", "NO_ANSWER", "TEAM_ARCHIVED", "ASSIGNED", "REOPENED", "WOKEN", "HANDED_OVER"] {
        assert!(took_part.iter().any(|part| part == cause), "nothing has {cause}: {took_part:?}");
    }
    let by_bot = "select count(*) from priority_history where to_priority = 4";
    assert!(office.count(by_bot).await > 0, "only a rule makes one urgent, when the bot has found its topic");
    for from in [begun, middle] {
        let teams = [office.team, week.other, week.old].map(settings).to_vec();
        let said = simulate(&office, &office.owner, (from, clock.now()), teams).await.unwrap();
        for (team, result) in &said.results {
            assert_eq!(result.reproduced, result.decisions, "team {team} from {from}");
            assert!(result.decisions > 0 || *team == week.old.to_string(), "team {team} from {from}");
        }
        assert!(said.differences.is_empty(), "from {from}: {:?}", said.differences);
    }
    office.audit().await;
    assert_eq!(office.violations().await, []);
}
