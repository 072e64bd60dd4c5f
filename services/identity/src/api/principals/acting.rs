//! For whom a principal may act.

use diwan_fault::{Fault, Fields};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{SetActingForRequest, SetActingForResponse, UserState},
};
use diwan_store::answers;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Manager, PrincipalApi,
    change::{cut, locked, told},
    decode,
};
use crate::{
    alerts::{self, Alert},
    api::fields,
    domain::{INSTALLATION, Principal, Refusal, User},
    error::Error,
    store::{
        closings,
        principals::{self, Acted},
        users,
    },
};

impl PrincipalApi {
    pub(super) async fn act_for(
        &self,
        manager: &Manager,
        mut message: SetActingForRequest,
    ) -> Result<SetActingForResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("principal_id", &message.principal_id);
        let of = fields.optional_uuid("account_id", &message.account_id);
        let mut user_ids = decode::user_ids(&mut fields, &message.user_ids);
        // The order in which users are locked everywhere.
        user_ids.sort_unstable();
        if of.is_none() && manager.user.is_none() {
            fields.refuse("account_id", "FIELD_REQUIRED", &[]);
        }
        manager.gives(&mut fields, &password);
        fields.finish()?;
        let (of, now) = (of.unwrap_or(manager.home), self.api.clock.now());
        let once = manager.once(&request_id, "SetActingFor", &message);
        if let Some(answer) = answers::find(self.api.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(manager, password).await?;
        let answer = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let mut principal = locked(tx, manager, id).await?;
            if !principal.may_enter(of) {
                return Err(Error::AccountNotFound);
            }
            for user in &user_ids {
                check(tx, manager, &principal, Acted { account: of, user: *user }).await?;
            }
            let before = principals::acted(tx, principal.account, id).await?;
            principals::set_acted(tx, (principal.account, id), of, &user_ids, manager.user).await?;
            for user in user_ids.iter().filter(|user| !before.contains(&Acted { account: of, user: **user })) {
                let begun = Alert::ActingBegun { principal: principal.name.clone() };
                alerts::queue(tx, of, *user, begun, now).await?;
            }
            principal.version += 1;
            cut(tx, &mut principal, now).await?;
            principals::update(tx, &principal).await?;
            Ok(SetActingForResponse { principal: Some(told(tx, &principal, now).await?) })
        });
        let answer = answer.await?;
        self.api.effects.wake();
        Ok(answer)
    }
}

/// Nobody lets a principal act for the owner but the owner himself. One whom he has named before may stay on the list. His role stays what
/// it is until this is committed: who becomes the owner at the same time does so after it, and finds what he has named himself.
async fn check(tx: &mut PgConnection, manager: &Manager, principal: &Principal, user: Acted) -> Result<(), Error> {
    let found = users::find_for_share(tx, user.account, user.user).await?.ok_or(Error::UserNotFound)?;
    if found.role != Role::Owner || manager.user == Some(user.user) {
        return Ok(());
    }
    let himself = principals::acts_for(tx, (principal.account, principal.id), user).await?;
    if himself == Some(true) { Ok(()) } else { Err(Error::Refused(Refusal::OwnerIsProtected)) }
}

/// Refuses to give more to a principal that acts for the owner, unless he does so himself: an admin with a credential of it would be
/// the owner. The principal is locked, so that he names himself before this or after it.
pub(super) async fn spare_owner(tx: &mut PgConnection, manager: &Manager, principal: &Principal) -> Result<(), Error> {
    if principal.account == INSTALLATION {
        return Ok(());
    }
    let (whose, account) = ((principal.account, principal.id), principal.account);
    let owner = closings::owner(tx, account).await?;
    let himself = principals::acts_for(tx, whose, Acted { account, user: owner }).await?;
    if himself == Some(true) && manager.user != Some(owner) {
        return Err(Error::Refused(Refusal::OwnerIsProtected));
    }
    Ok(())
}

/// The user for whom a principal gets a token.
pub(super) async fn acted(
    tx: &mut PgConnection,
    principal: &Principal,
    account: Uuid,
    user: Uuid,
) -> Result<User, Error> {
    let whose = (principal.account, principal.id);
    let himself = principals::acts_for(tx, whose, Acted { account, user }).await?.ok_or(Error::UserNotFound)?;
    let user = users::find(tx, account, user).await?.ok_or(Error::UserNotFound)?;
    // Somebody who became the owner later has to say so himself.
    let allowed = user.role != Role::Owner || himself;
    if user.state == UserState::Active && allowed { Ok(user) } else { Err(Error::UserNotFound) }
}
