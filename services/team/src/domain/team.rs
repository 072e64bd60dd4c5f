//! A team and its settings.

use diwan_fault::Language;
use diwan_hours::Schedule;
use jiff::Timestamp;
use uuid::Uuid;

use super::AutomaticReply;

/// What the members of a team see beside what they hold. The numbers are those of the product and the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Visibility {
    /// Own, the queue, and those still with a bot.
    #[default]
    Default = 1,
    /// Own only.
    Restricted = 2,
    /// Own and the queue.
    Queue = 3,
    /// Everything of this team and of the teams in the list.
    Wide = 4,
}

impl Visibility {
    /// Its number, 1 to 4.
    pub(crate) fn level(self) -> i16 {
        self as i16
    }

    /// The level of a number from 1 to 4.
    pub(crate) fn of_level(level: i16) -> Option<Self> {
        [Self::Default, Self::Restricted, Self::Queue, Self::Wide].into_iter().find(|known| known.level() == level)
    }
}

/// What can be changed of a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// The most OPEN conversations that one agent gets automatically; 0 is no limit.
    pub(crate) assignment_limit: i32,
    pub(crate) topic_mandatory: bool,
    pub(crate) visibility: Visibility,
    /// The other teams that [`Visibility::Wide`] shows, in the order of their ids, each once.
    pub(crate) wide_teams: Vec<Uuid>,
    /// Whether a customer who is back goes to the agent whom he had last.
    pub(crate) sticky_owner: bool,
    /// After how long in the queue a conversation makes an alert, in seconds; 0: none does.
    pub(crate) wait_alert_seconds: i32,
    /// After how many minutes of work without an answer a conversation is offered to others; 0: never.
    pub(crate) no_answer_after_minutes: i32,
    /// Whether what waits for an answer is offered to others when its holder has gone OFFLINE.
    pub(crate) reassign_when_offline: bool,
    /// What customers get who write while it is closed.
    pub(crate) automatic_reply: AutomaticReply,
}

/// A team of an account.
#[derive(Clone, Debug)]
pub(crate) struct Team {
    pub(crate) account: Uuid,
    pub(crate) id: Uuid,
    pub(crate) settings: Settings,
    pub(crate) fallback: bool,
    /// When it works, by the clock of the account's time zone; `None`: it is always open.
    pub(crate) hours: Option<Schedule>,
    /// The account's time zone (IANA).
    pub(crate) zone: String,
    pub(crate) version: i64,
    pub(crate) created_at: Timestamp,
    /// Since when it is out of use, and which team has taken its place.
    pub(crate) archived: Option<(Timestamp, Option<Uuid>)>,
}

impl Team {
    /// A new team. Its own id has no place among the teams that it shows beside itself.
    pub(crate) fn new(
        (account, zone): (Uuid, String),
        id: Uuid,
        settings: Settings,
        fallback: bool,
        created_at: Timestamp,
    ) -> Self {
        let mut team =
            Self { account, id, settings, fallback, hours: None, zone, version: 1, created_at, archived: None };
        team.settings.wide_teams.retain(|other| *other != id);
        team
    }

    /// The team after `changes`.
    pub(crate) fn changed(mut self, changes: &Changes) -> Self {
        changes.apply(&mut self.settings);
        self.settings.wide_teams.retain(|other| *other != self.id);
        self.version += 1;
        self
    }
}

/// New values of some settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) name: Option<String>,
    pub(crate) assignment_limit: Option<i32>,
    pub(crate) topic_mandatory: Option<bool>,
    pub(crate) visibility: Option<Visibility>,
    pub(crate) wide_teams: Option<Vec<Uuid>>,
    pub(crate) sticky_owner: Option<bool>,
    pub(crate) wait_alert_seconds: Option<i32>,
    pub(crate) no_answer_after_minutes: Option<i32>,
    pub(crate) reassign_when_offline: Option<bool>,
    pub(crate) automatic_reply: Option<AutomaticReply>,
}

impl Changes {
    fn apply(&self, settings: &mut Settings) {
        set(&mut settings.name, self.name.as_ref());
        set(&mut settings.assignment_limit, self.assignment_limit.as_ref());
        set(&mut settings.topic_mandatory, self.topic_mandatory.as_ref());
        set(&mut settings.visibility, self.visibility.as_ref());
        set(&mut settings.wide_teams, self.wide_teams.as_ref());
        set(&mut settings.sticky_owner, self.sticky_owner.as_ref());
        set(&mut settings.wait_alert_seconds, self.wait_alert_seconds.as_ref());
        set(&mut settings.no_answer_after_minutes, self.no_answer_after_minutes.as_ref());
        set(&mut settings.reassign_when_offline, self.reassign_when_offline.as_ref());
        set(&mut settings.automatic_reply, self.automatic_reply.as_ref());
    }
}

fn set<T: Clone>(setting: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        setting.clone_from(new);
    }
}

/// A name as it is compared and sorted: without the case of its letters.
pub(crate) fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// What an account's fallback team is called at first.
pub(crate) fn fallback_name(language: Language) -> &'static str {
    match language {
        Language::Ar => "عام",
        Language::En | Language::Es => "General",
        Language::Pt => "Geral",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_only_are_the_same_name_in_any_script() {
        assert_eq!(name_key("ATENÇÃO ao Cliente"), name_key("atenção AO CLIENTE"));
        assert_ne!(name_key("Vendas"), name_key("Vendas 2"));
    }

    #[test]
    fn a_team_never_shows_itself_beside_itself_and_rises_with_every_change() {
        let (own, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let settings = Settings {
            name: "Sales".into(),
            assignment_limit: 3,
            topic_mandatory: false,
            visibility: Visibility::Wide,
            wide_teams: vec![own, other],
            sticky_owner: false,
            wait_alert_seconds: 0,
            no_answer_after_minutes: 0,
            reassign_when_offline: false,
            automatic_reply: AutomaticReply::default(),
        };
        let team = Team::new((Uuid::nil(), "UTC".into()), own, settings, false, Timestamp::UNIX_EPOCH);
        assert_eq!((team.settings.wide_teams.as_slice(), team.version), ([other].as_slice(), 1));
        let changes = Changes { wide_teams: Some(vec![own]), ..Changes::default() };
        let team = team.changed(&changes);
        assert_eq!((team.settings.wide_teams.len(), team.settings.assignment_limit, team.version), (0, 3, 2));
    }
}
