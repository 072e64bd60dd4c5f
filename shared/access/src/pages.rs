//! Which pages a user is shown, by the same terms as which methods he may call.

use std::sync::Arc;

use diwan_proto::access::v1::Page;
use prost_reflect::DescriptorPool;

use crate::{Caller, Rule, User, admission::admits, rules::RulesError};

/// Who is shown each page, as the .proto declares it. Clones share it.
#[derive(Clone, Debug)]
pub struct Pages(Arc<[(Page, Rule)]>);

impl Pages {
    /// What `page.proto` declares.
    ///
    /// # Errors
    /// The descriptors cannot be read, or a page says nothing: a broken binary.
    pub fn load() -> Result<Self, RulesError> {
        let undeclared = |name: &str| RulesError::Undeclared(name.to_owned());
        let pool = DescriptorPool::decode(diwan_proto::DESCRIPTORS)?;
        let shown_to = pool.get_extension_by_name("diwan.access.v1.shown_to").ok_or_else(|| undeclared("shown_to"))?;
        let pages = pool.get_enum_by_name("diwan.access.v1.Page").ok_or_else(|| undeclared("Page"))?;
        let declared = pages.values().filter(|value| value.number() != 0).map(|value| {
            let options = value.options();
            let rule = options.get_extension(&shown_to).as_message().and_then(|rule| rule.transcode_to::<Rule>().ok());
            let rule = rule.filter(|rule| !rule.callers.is_empty());
            let page = Page::try_from(value.number()).ok();
            page.zip(rule).ok_or_else(|| undeclared(value.full_name()))
        });
        Ok(Self(declared.collect::<Result<_, _>>()?))
    }

    /// The pages that a user is shown, by their numbers.
    pub fn of(&self, user: &User) -> Vec<Page> {
        let caller = Caller::User(user.clone());
        self.0.iter().filter(|(_, rule)| admits(rule, &caller)).map(|(page, _)| *page).collect()
    }
}

#[cfg(test)]
mod tests {
    use diwan_proto::access::v1::{Grant, Role};
    use uuid::Uuid;

    use super::*;
    use crate::Rules;

    fn user(role: Role, grants: &[Grant]) -> User {
        let id = Uuid::nil();
        User { account_id: id, user_id: id, session_id: id, role, grants: grants.to_vec(), actor: None }
    }

    /// Chapter 1 of what the product promises, written down once more.
    #[test]
    fn each_role_and_grant_sees_its_pages() {
        use Page::{Automation, Campaigns, Chatbot, Contacts, Dashboard, Inbox, Reports, Settings, Subscription};
        let pages = Pages::load().unwrap();
        let shown = |role, grants: &[Grant]| pages.of(&user(role, grants));
        let all = [Inbox, Contacts, Chatbot, Reports, Dashboard, Campaigns, Automation, Settings, Subscription];
        assert_eq!(shown(Role::Owner, &[]), all);
        assert_eq!(shown(Role::Admin, &[]), [Inbox, Contacts, Chatbot, Reports, Settings]);
        assert_eq!(shown(Role::User, &[]), [Inbox, Contacts]);
        assert_eq!(shown(Role::User, &[Grant::Campaigns]), [Inbox, Contacts, Dashboard, Campaigns, Automation]);
        assert_eq!(shown(Role::User, &[Grant::SubscriptionManagement]), [Inbox, Contacts, Subscription]);
        assert_eq!(shown(Role::Admin, &[Grant::Campaigns, Grant::SubscriptionManagement]), all);
        assert_eq!(
            shown(Role::Admin, &[Grant::SubscriptionManagement]),
            [Inbox, Contacts, Chatbot, Reports, Settings, Subscription]
        );
    }

    /// A page that is shown to somebody whose calls are all refused there, or the other way round, would be a second list.
    #[test]
    fn a_page_is_shown_to_whoever_may_call_the_methods_behind_it() {
        let (pages, rules) = (Pages::load().unwrap(), Rules::load().unwrap());
        let behind = [
            (Page::Inbox, "/diwan.conversation.v1.InboxService/WatchInbox"),
            (Page::Subscription, "/diwan.billing.v1.SubscriptionService/GetSubscription"),
            (Page::Settings, "/diwan.identity.v1.AccountService/UpdateAccount"),
            (Page::Settings, "/diwan.identity.v1.RoleService/ChangeRole"),
            (Page::Settings, "/diwan.team.v1.TeamService/CreateTeam"),
        ];
        let grants: [&[Grant]; 4] = [
            &[],
            &[Grant::Campaigns],
            &[Grant::SubscriptionManagement],
            &[Grant::Campaigns, Grant::SubscriptionManagement],
        ];
        for (page, method) in behind {
            for role in [Role::Owner, Role::Admin, Role::User] {
                for user in grants.map(|grants| user(role, grants)) {
                    let may_call = admits(rules.of(method).unwrap(), &Caller::User(user.clone()));
                    assert_eq!(pages.of(&user).contains(&page), may_call, "{page:?} {method} {user:?}");
                }
            }
        }
    }
}
