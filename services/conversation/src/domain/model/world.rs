//! An office without a database: what the service keeps in rows is kept here in maps, and the pure engine decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use diwan_runtime::clock::after;
use jiff::Timestamp;
use uuid::Uuid;

use super::bots::Talk;
use crate::domain::{
    give_back::give_back,
    routing::{Agent, Decision, Waiting, decide, hindrance},
    rules::{Enquiry, Rule},
    state::{Availability, Priority, State},
};

/// As in `flow::assign`, but small, so that several batches are common.
const BATCH: usize = 3;

/// A team.
#[derive(Clone, Debug)]
pub struct Team {
    pub limit: Option<i32>,
    pub open: bool,
    /// Where its conversations went when it was archived.
    pub archived_to: Option<usize>,
    /// By user. A row stays when its agent leaves.
    pub slots: BTreeMap<usize, Slot>,
    /// Each automatic assignment by the fair count: the step and the user.
    pub log: Vec<(usize, usize)>,
    /// Since which step it has had no limit.
    pub unlimited_since: usize,
    /// Whether what waits for an answer is offered to others when its holder goes OFFLINE.
    pub reassigns: bool,
    /// Whether people close nothing without a topic.
    pub mandatory: bool,
}

/// What one agent holds in one team.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    pub member: bool,
    pub open: i32,
    pub automatic: i64,
    pub last: Option<Timestamp>,
    /// Since which step he has been an ACTIVE member.
    pub eligible_since: usize,
}

/// A person.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub enabled: bool,
    pub availability: Availability,
}

/// A conversation.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub team: usize,
    pub state: State,
    pub holder: Option<usize>,
    pub last_holder: Option<usize>,
    pub priority: Priority,
    pub queued_at: Timestamp,
    pub version: i64,
    /// Who had it and did not answer.
    pub asked: Vec<usize>,
    /// What rules look at; its topics are what it is about now.
    pub enquiry: Enquiry,
    /// Of one with a bot.
    pub talk: Option<Talk>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct World {
    pub teams: Vec<Team>,
    pub users: Vec<User>,
    pub conversations: Vec<Conversation>,
    /// The routing rules in their order.
    pub rules: Vec<Rule>,
    /// The team of what nothing else says.
    pub fallback: usize,
    pub archived_topics: BTreeSet<Uuid>,
    /// Whether the account's bot is enabled.
    pub bot: bool,
    pub now: Timestamp,
    pub step: usize,
}

pub fn id(number: usize) -> Uuid {
    Uuid::from_u128(number as u128)
}

pub fn number(id: Uuid) -> usize {
    usize::try_from(id.as_u128()).unwrap()
}

impl World {
    /// Everybody is OFFLINE and a member of the first team.
    pub fn new(teams: usize, users: usize) -> Self {
        let team = Team {
            limit: None,
            open: true,
            archived_to: None,
            slots: BTreeMap::new(),
            log: Vec::new(),
            unlimited_since: 0,
            reassigns: false,
            mandatory: false,
        };
        let user = User { enabled: true, availability: Availability::Offline };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut world = Self {
            teams: vec![team; teams],
            users: vec![user; users],
            conversations: vec![],
            rules: vec![],
            fallback: 0,
            archived_topics: BTreeSet::new(),
            bot: true,
            now,
            step: 0,
        };
        for user in 0..users {
            world.slot(0, user).member = true;
        }
        world
    }

    pub fn slot(&mut self, team: usize, user: usize) -> &mut Slot {
        self.teams[team].slots.entry(user).or_default()
    }

    /// Time passes.
    pub fn tick(&mut self) {
        self.step += 1;
        self.now = after(self.now, Duration::from_secs(1));
    }

    /// The members of a team, as `store::slots::agents` reads them.
    pub fn agents(&self, team: usize) -> Vec<Agent> {
        let members = self.teams[team].slots.iter().filter(|(_, slot)| slot.member);
        members
            .map(|(user, slot)| Agent {
                user: id(*user),
                enabled: self.users[*user].enabled,
                availability: self.users[*user].availability,
                open: slot.open,
                automatic: slot.automatic,
                last: slot.last,
            })
            .collect()
    }

    /// A team's queue, in no order.
    pub fn waiting(&self, team: usize) -> Vec<Waiting> {
        let queued = |found: &&(usize, &Conversation)| found.1.state == State::Queued && found.1.team == team;
        let all = self.conversations.iter().enumerate();
        all.filter(|found| queued(&found))
            .map(|(number, found)| Waiting {
                conversation: id(number),
                version: found.version,
                priority: found.priority,
                queued_at: found.queued_at,
                asked: found.asked.iter().map(|user| id(*user)).collect(),
            })
            .collect()
    }

    /// What `flow::assign` does, for every team, until nothing is left to give out.
    pub fn route(&mut self) {
        for team in 0..self.teams.len() {
            while self.teams[team].open && self.teams[team].archived_to.is_none() {
                let mut waiting = self.waiting(team);
                waiting.sort_by_key(Waiting::place);
                waiting.truncate(BATCH);
                let decision = decide(self.teams[team].limit, &self.agents(team), &waiting, self.now);
                if decision.assignments.is_empty() {
                    break;
                }
                self.claim(team, &decision);
                self.now = after(self.now, Duration::from_millis(1));
            }
        }
    }

    fn claim(&mut self, team: usize, decision: &Decision) {
        for made in &decision.assignments {
            let (conversation, user) = (number(made.conversation), number(made.user));
            let found = &self.conversations[conversation];
            assert_eq!(
                (found.state, found.holder, found.version),
                (State::Queued, None, made.version),
                "one holder at most"
            );
            let first = self.waiting(team).into_iter().min_by_key(Waiting::place).unwrap();
            assert_eq!(first.conversation, made.conversation, "the first of the queue goes first");
            assert!(
                !self.conversations[conversation].asked.contains(&user) || self.others(conversation).is_empty(),
                "{user} gets again what he did not answer, though others could take it"
            );
            if !made.counts {
                let held = |user: &Uuid| self.teams[team].slots[&number(*user)].open;
                let least = self.others(conversation).iter().map(held).min();
                assert!(
                    least.is_none_or(|least| held(&made.user) == least),
                    "{user} is asked, though others hold less"
                );
            }
            self.hold(conversation, user);
            let (step, limit) = (self.step, self.teams[team].limit);
            let slot = self.slot(team, user);
            assert!(limit.is_none_or(|limit| slot.open <= limit), "{user} is above the limit automatically");
            if made.counts {
                slot.automatic += 1;
                slot.last = made.last;
                self.teams[team].log.push((step, user));
            }
        }
    }

    /// Who could take it now and has not been asked.
    fn others(&self, conversation: usize) -> Vec<Uuid> {
        let Conversation { team, holder, ref asked, .. } = self.conversations[conversation];
        let limit = self.teams[team].limit;
        let asked = |agent: &Agent| asked.iter().chain(&holder).any(|user| id(*user) == agent.user);
        let free = |agent: &Agent| hindrance(limit, agent).is_none() && !asked(agent);
        self.agents(team).into_iter().filter(free).map(|agent| agent.user).collect()
    }

    /// What `flow::unanswered` does with one whose holder did not answer in time.
    pub fn unanswered(&mut self, conversation: usize) {
        let Conversation { team, state, holder, queued_at, .. } = self.conversations[conversation];
        let Some(holder) = holder.filter(|_| state == State::Open && self.teams[team].open) else { return };
        if self.others(conversation).is_empty() {
            return;
        }
        self.conversations[conversation].asked.push(holder);
        self.queue(conversation, team, queued_at);
    }

    /// And with all that somebody holds who has gone OFFLINE.
    pub fn left_by(&mut self, user: usize) {
        for conversation in 0..self.conversations.len() {
            let Conversation { team, state, holder, queued_at, .. } = self.conversations[conversation];
            let Team { open, reassigns, .. } = self.teams[team];
            if state == State::Open && holder == Some(user) && open && reassigns {
                self.queue(conversation, team, queued_at);
            }
        }
    }

    /// What `flow::give_back` does.
    pub fn give_back(&mut self, conversation: usize, agent: usize) {
        let (team, now) = (self.conversations[conversation].team, self.now);
        let candidate = self.agents(team).into_iter().find(|candidate| candidate.user == id(agent));
        let settings = (self.teams[team].limit, self.teams[team].open);
        if give_back((id(conversation), id(agent)), settings, candidate).passed_over.is_some() {
            return self.queue(conversation, team, now);
        }
        self.hold(conversation, agent);
        let (limit, slot) = (self.teams[team].limit, *self.slot(team, agent));
        assert!(
            slot.member && limit.is_none_or(|limit| slot.open <= limit),
            "{agent} got one back that he could not take"
        );
        assert!(self.teams[team].open && self.users[agent].enabled);
        assert_eq!(self.users[agent].availability, Availability::Active);
    }

    /// Whoever holds it does so no longer; his place is free.
    fn let_go(&mut self, conversation: usize) {
        let found = &mut self.conversations[conversation];
        let (team, state, holder) = (found.team, found.state, found.holder.take());
        found.version += 1;
        found.talk = None;
        if let (State::Open, Some(holder)) = (state, holder) {
            self.slot(team, holder).open -= 1;
        }
    }

    /// An agent gets it, whatever his limit says.
    pub fn hold(&mut self, conversation: usize, user: usize) {
        self.let_go(conversation);
        let found = &mut self.conversations[conversation];
        (found.state, found.holder, found.last_holder) = (State::Open, Some(user), Some(user));
        let team = found.team;
        self.slot(team, user).open += 1;
    }

    pub fn queue(&mut self, conversation: usize, team: usize, since: Timestamp) {
        self.let_go(conversation);
        let found = &mut self.conversations[conversation];
        (found.state, found.team, found.queued_at) = (State::Queued, team, since);
    }

    pub fn close(&mut self, conversation: usize) {
        self.let_go(conversation);
        self.conversations[conversation].state = State::Closed;
        self.conversations[conversation].asked.clear();
    }

    pub fn snooze(&mut self, conversation: usize) {
        let holder = self.conversations[conversation].holder;
        self.let_go(conversation);
        let found = &mut self.conversations[conversation];
        (found.state, found.holder) = (State::Snoozed, holder);
    }

    /// Whoever becomes eligible starts at the minimum of the others: `store::slots::start_at_minimum`.
    pub fn start_at_minimum(&mut self, user: usize, only: Option<usize>) {
        let step = self.step;
        for team in (0..self.teams.len()).filter(|team| only.is_none_or(|only| only == *team)) {
            let others = self
                .agents(team)
                .into_iter()
                .filter(|other| other.user != id(user) && other.enabled && other.availability == Availability::Active);
            let least = others.map(|other| other.automatic).min();
            if let Some(slot) = self.teams[team].slots.get_mut(&user).filter(|slot| slot.member) {
                slot.automatic = least.unwrap_or(slot.automatic);
                slot.eligible_since = step;
            }
        }
    }

    /// What a user holds goes to the queues.
    pub fn take_away(&mut self, user: usize, only: Option<usize>) {
        for conversation in 0..self.conversations.len() {
            let Conversation { holder, team, .. } = self.conversations[conversation];
            if holder == Some(user) && only.is_none_or(|only| only == team) {
                self.queue(conversation, team, self.now);
            }
        }
    }

    /// The active team that a team's conversations are with now.
    pub fn heir(&self, mut team: usize) -> usize {
        while let Some(next) = self.teams[team].archived_to {
            team = next;
        }
        team
    }

    /// Archives a team into an active one: chapter 4 of what the product does.
    pub fn archive(&mut self, team: usize, to: usize) {
        for conversation in 0..self.conversations.len() {
            let Conversation { team: of, state, holder, queued_at, .. } = self.conversations[conversation];
            if of != team || state == State::Closed {
                continue;
            }
            // It stays with its bot, whose prospective team is another one now.
            if state == State::Bot {
                self.conversations[conversation].team = to;
                continue;
            }
            let stays = holder.filter(|holder| self.slot(to, *holder).member);
            let since = if state == State::Queued { queued_at } else { self.now };
            self.queue(conversation, to, since);
            if let Some(holder) = stays {
                self.hold(conversation, holder);
                if state == State::Snoozed {
                    self.snooze(conversation);
                }
            }
        }
        self.teams[team].archived_to = Some(to);
        for rule in self.rules.iter_mut().filter(|rule| rule.team == id(team)) {
            rule.team = id(to);
        }
        if self.fallback == team {
            self.fallback = to;
        }
        for user in 0..self.users.len() {
            let active =
                |found: &Team| found.archived_to.is_none() && found.slots.get(&user).is_some_and(|slot| slot.member);
            if !self.teams.iter().any(active) {
                self.slot(to, user).member = true;
                self.start_at_minimum(user, Some(to));
            }
        }
    }
}
