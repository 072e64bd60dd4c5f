//! What a person sees. One rule decides for get, list and stream: [`Scope::sees`] here, and the same in SQL
//! (`store::conversations`), which a test holds together.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::state::State;

/// What the members of a team see beside what they hold: diwan.team.v1.VisibilityLevel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Own, the queue, and those still with a bot.
    Default,
    /// Own only.
    Restricted,
    /// Own and the queue, not the bot's.
    Queue,
    /// Everything of this team and of the teams listed.
    Wide,
}

impl Level {
    /// By its number; an unknown one counts as the narrowest.
    pub fn of_number(number: i16) -> Self {
        match number {
            1 => Self::Default,
            3 => Self::Queue,
            4 => Self::Wide,
            _ => Self::Restricted,
        }
    }
}

/// What the rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where the conversation is.
    pub state: State,
    /// The team that it is with.
    pub team: Uuid,
    /// Who holds it; of a closed one, who held it last.
    pub holder: Option<Uuid>,
}

/// What one person sees: the union over his teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// He.
    pub user: Uuid,
    /// Whether he sees everything of the account.
    pub everything: bool,
    /// The teams that he belongs to: of these he sees the closed ones that he held last.
    pub own: BTreeSet<Uuid>,
    /// Teams whose queue he sees.
    pub queue: BTreeSet<Uuid>,
    /// Teams whose conversations with a bot he sees.
    pub bot: BTreeSet<Uuid>,
    /// Teams of which he sees everything.
    pub all: BTreeSet<Uuid>,
    /// Teams that he leads: he sees everything of them, and directs the work on it.
    pub led: BTreeSet<Uuid>,
}

impl Scope {
    /// Of an owner or admin.
    pub fn of_administrator(user: Uuid) -> Self {
        Self { user, everything: true, ..Self::default() }
    }

    /// Of a member of these teams, each with its level and the other teams listed there.
    pub fn of_member(user: Uuid, teams: impl IntoIterator<Item = (Uuid, Level, Vec<Uuid>)>) -> Self {
        let mut scope = Self { user, ..Self::default() };
        for (team, level, listed) in teams {
            scope.own.insert(team);
            match level {
                Level::Restricted => {}
                Level::Queue => drop(scope.queue.insert(team)),
                Level::Default => {
                    scope.queue.insert(team);
                    scope.bot.insert(team);
                }
                Level::Wide => {
                    scope.all.insert(team);
                    scope.all.extend(listed);
                }
            }
        }
        scope
    }

    /// He also leads these teams of his, which shows him everything of them whatever their level is.
    pub fn leading(mut self, teams: impl IntoIterator<Item = Uuid>) -> Self {
        self.led.extend(teams);
        self.all.extend(&self.led);
        self
    }

    /// Whether he sees a conversation. Whoever holds one sees it, whatever team it is with.
    pub fn sees(&self, facts: Facts) -> bool {
        let Facts { state, team, holder } = facts;
        self.everything
            || self.all.contains(&team)
            || (holder == Some(self.user) && (state != State::Closed || self.own.contains(&team)))
            || (state == State::Queued && self.queue.contains(&team))
            || (state == State::Bot && self.bot.contains(&team))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Uuid = Uuid::from_u128(1);
    const TEAM: Uuid = Uuid::from_u128(2);
    const OTHER: Uuid = Uuid::from_u128(3);

    fn seen(scope: &Scope, team: Uuid) -> [bool; 5] {
        let sees = |state, holder| scope.sees(Facts { state, team, holder });
        [
            sees(State::Open, Some(ME)),
            sees(State::Closed, Some(ME)),
            sees(State::Queued, None),
            sees(State::Bot, None),
            sees(State::Open, Some(OTHER)) && sees(State::Closed, Some(OTHER)) && sees(State::Snoozed, Some(OTHER)),
        ]
    }

    fn member(level: Level, listed: &[Uuid]) -> Scope {
        Scope::of_member(ME, [(TEAM, level, listed.to_vec())])
    }

    #[test]
    fn each_level_shows_what_it_says_and_nothing_of_other_teams() {
        let held_elsewhere = [true, false, false, false, false];
        for (level, expected) in [
            (Level::Default, [true, true, true, true, false]),
            (Level::Restricted, [true, true, false, false, false]),
            (Level::Queue, [true, true, true, false, false]),
            (Level::Wide, [true; 5]),
        ] {
            let scope = member(level, &[]);
            assert_eq!(seen(&scope, TEAM), expected, "{level:?}");
            assert_eq!(seen(&scope, OTHER), held_elsewhere, "{level:?}");
        }
    }

    #[test]
    fn a_wide_level_shows_the_listed_teams_too_and_an_administrator_sees_everything() {
        assert_eq!(seen(&member(Level::Wide, &[OTHER]), OTHER), [true; 5]);
        assert_eq!(seen(&Scope::of_administrator(ME), OTHER), [true; 5]);
        assert_eq!(seen(&member(Level::Default, &[OTHER]), OTHER), [true, false, false, false, false]);
    }

    #[test]
    fn a_lead_sees_everything_of_his_team_at_every_level_and_nothing_more_of_others() {
        for level in [Level::Default, Level::Restricted, Level::Queue, Level::Wide] {
            let scope =
                Scope::of_member(ME, [(TEAM, level, vec![]), (OTHER, Level::Restricted, vec![])]).leading([TEAM]);
            assert_eq!(seen(&scope, TEAM), [true; 5], "{level:?}");
            assert_eq!(seen(&scope, OTHER), [true, true, false, false, false], "{level:?}");
        }
    }

    #[test]
    fn over_several_teams_a_person_sees_the_union() {
        let teams = [(TEAM, Level::Restricted, vec![]), (OTHER, Level::Queue, vec![])];
        let scope = Scope::of_member(ME, teams);
        assert_eq!(seen(&scope, TEAM), [true, true, false, false, false]);
        assert_eq!(seen(&scope, OTHER), [true, true, true, false, false]);
    }
}
