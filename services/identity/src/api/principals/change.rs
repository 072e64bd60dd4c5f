//! Making, showing and changing principals.

use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    CreateServicePrincipalRequest, CreateServicePrincipalResponse, DisableServicePrincipalRequest,
    DisableServicePrincipalResponse, EnableServicePrincipalRequest, EnableServicePrincipalResponse,
    GetServicePrincipalRequest, GetServicePrincipalResponse, ListServicePrincipalsRequest,
    ListServicePrincipalsResponse, RevocationSubject, ServicePrincipal, UpdateServicePrincipalRequest,
    UpdateServicePrincipalResponse,
};
use diwan_runtime::ids;
use diwan_store::Page;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Manager, PrincipalApi, acting::spare_owner, decode, encode};
use crate::{
    domain::{INSTALLATION, MOST_PRINCIPALS, Principal},
    error::Error,
    events,
    store::{accounts, principal_credentials, principals, revocations},
};

const NAME: &str = "name";
const SCOPES: &str = "scopes";
const ACCOUNT_IDS: &str = "account_ids";
const ALL_ACCOUNTS: &str = "all_accounts";

/// The new values of what is to be changed.
struct Changes {
    name: Option<String>,
    scopes: Option<Vec<String>>,
    account_ids: Option<Vec<Uuid>>,
    all_accounts: Option<bool>,
}

impl Changes {
    fn read(fields: &mut Fields, api: &PrincipalApi, message: &UpdateServicePrincipalRequest) -> Self {
        let changeable = [NAME, SCOPES, ACCOUNT_IDS, ALL_ACCOUNTS];
        let paths = message.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            fields.refuse("update_mask", "FIELD_REQUIRED", &[]);
        } else if !paths.iter().all(|path| changeable.contains(&path.as_str())) {
            fields.refuse("update_mask", "FIELD_VALUE", &[("values", changeable.join(", "))]);
        }
        let named = |field: &str| paths.iter().any(|path| path == field);
        Self {
            name: named(NAME).then(|| decode::name(fields, &message.name)),
            scopes: named(SCOPES).then(|| decode::scopes(fields, api.admission.rules(), &message.scopes)),
            account_ids: named(ACCOUNT_IDS).then(|| decode::account_ids(fields, &message.account_ids)),
            all_accounts: named(ALL_ACCOUNTS).then_some(message.all_accounts),
        }
    }

    async fn applied(&self, tx: &mut PgConnection, manager: &Manager, before: Principal) -> Result<Principal, Error> {
        let account_ids = match &self.account_ids {
            Some(accounts) => allowed(tx, manager, accounts).await?,
            None => before.account_ids,
        };
        Ok(Principal {
            name: self.name.clone().unwrap_or(before.name),
            scopes: self.scopes.clone().unwrap_or(before.scopes),
            account_ids,
            all_accounts: self.all_accounts.unwrap_or(before.all_accounts),
            ..before
        })
    }
}

impl PrincipalApi {
    pub(super) async fn create(
        &self,
        manager: &Manager,
        message: &CreateServicePrincipalRequest,
    ) -> Result<CreateServicePrincipalResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let name = decode::name(&mut fields, &message.name);
        let scopes = decode::scopes(&mut fields, self.admission.rules(), &message.scopes);
        let account_ids = decode::account_ids(&mut fields, &message.account_ids);
        only_operators(&mut fields, manager, message.all_accounts);
        fields.finish()?;
        let now = self.api.clock.now();
        let once = manager.once(&request_id, "CreateServicePrincipal", message);
        let created = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            lock_account(tx, manager).await?;
            require_room(tx, manager).await?;
            let principal = Principal {
                account: manager.home,
                id: ids::new_id(),
                name: name.clone(),
                scopes: scopes.clone(),
                account_ids: allowed(tx, manager, &account_ids).await?,
                all_accounts: message.all_accounts,
                disabled_at: None,
                epoch: 0,
                version: 1,
                created_at: now,
            };
            principals::insert(tx, &principal).await?;
            let principal = Some(told(tx, &principal, now).await?);
            Ok::<_, Error>(CreateServicePrincipalResponse { principal })
        });
        Ok(created.await?)
    }

    pub(super) async fn get(
        &self,
        manager: &Manager,
        message: &GetServicePrincipalRequest,
    ) -> Result<GetServicePrincipalResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.uuid("principal_id", &message.principal_id);
        fields.finish()?;
        let mut connection = self.api.database.pool().acquire().await.map_err(Error::from)?;
        let principal = principals::find(&mut connection, manager.home, id).await?.ok_or(Error::PrincipalNotFound)?;
        Ok(GetServicePrincipalResponse { principal: Some(shown(&mut connection, &principal).await?) })
    }

    pub(super) async fn list(
        &self,
        manager: &Manager,
        message: &ListServicePrincipalsRequest,
    ) -> Result<ListServicePrincipalsResponse, Fault> {
        let mut fields = Fields::new();
        let list = ("ListServicePrincipals", manager.home);
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &list, message.page.as_ref());
        fields.finish()?;
        let mut connection = self.api.database.pool().acquire().await.map_err(Error::from)?;
        let found = principals::list(&mut connection, manager.home, page.after(), page.limit()).await?;
        let (found, info) = page.finish(found, |principal| (principal.created_at, principal.id));
        let principals = found.iter().map(|principal| encode::principal(principal, &[], &[])).collect();
        Ok(ListServicePrincipalsResponse { principals, page: Some(info) })
    }

    pub(super) async fn update(
        &self,
        manager: &Manager,
        message: &UpdateServicePrincipalRequest,
    ) -> Result<UpdateServicePrincipalResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("principal_id", &message.principal_id);
        let changes = Changes::read(&mut fields, self, message);
        only_operators(&mut fields, manager, changes.all_accounts.unwrap_or_default());
        fields.finish()?;
        let now = self.api.clock.now();
        let once = manager.once(&request_id, "UpdateServicePrincipal", message);
        let updated = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let before = locked(tx, manager, id).await?;
            let after = changes.applied(tx, manager, before.clone()).await?;
            if !after.scopes.iter().all(|scope| before.scopes.contains(scope)) {
                spare_owner(tx, manager, &before).await?;
            }
            Ok::<_, Error>(UpdateServicePrincipalResponse { principal: Some(save(tx, &before, after, now).await?) })
        });
        Ok(updated.await?)
    }

    pub(super) async fn disable(
        &self,
        manager: &Manager,
        message: &DisableServicePrincipalRequest,
    ) -> Result<DisableServicePrincipalResponse, Fault> {
        let (request_id, id) = read(&message.request_id, &message.principal_id)?;
        let now = self.api.clock.now();
        let once = manager.once(&request_id, "DisableServicePrincipal", message);
        let disabled = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let before = locked(tx, manager, id).await?;
            let after = Principal { disabled_at: before.disabled_at.or(Some(now)), ..before.clone() };
            Ok::<_, Error>(DisableServicePrincipalResponse { principal: Some(save(tx, &before, after, now).await?) })
        });
        Ok(disabled.await?)
    }

    pub(super) async fn enable(
        &self,
        manager: &Manager,
        message: &EnableServicePrincipalRequest,
    ) -> Result<EnableServicePrincipalResponse, Fault> {
        let (request_id, id) = read(&message.request_id, &message.principal_id)?;
        let now = self.api.clock.now();
        let once = manager.once(&request_id, "EnableServicePrincipal", message);
        let enabled = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            lock_account(tx, manager).await?;
            let before = locked(tx, manager, id).await?;
            spare_owner(tx, manager, &before).await?;
            if before.disabled_at.is_some() {
                require_room(tx, manager).await?;
            }
            let after = Principal { disabled_at: None, ..before.clone() };
            Ok::<_, Error>(EnableServicePrincipalResponse { principal: Some(save(tx, &before, after, now).await?) })
        });
        Ok(enabled.await?)
    }
}

/// Whoever wants one more of an account's principals in use holds its row, and so counts what is committed: 64 who make the last one at once
/// make one. Before any principal is locked.
async fn lock_account(tx: &mut PgConnection, manager: &Manager) -> Result<(), Error> {
    if manager.home != INSTALLATION {
        accounts::get_for_update(tx, manager.home).await?;
    }
    Ok(())
}

/// Refuses another one in use to an account that has all it can have. The account is locked. Operators know what they do.
async fn require_room(tx: &mut PgConnection, manager: &Manager) -> Result<(), Error> {
    let full = manager.home != INSTALLATION && principals::count_in_use(tx, manager.home).await? >= MOST_PRINCIPALS;
    if full { Err(Error::TooManyPrincipals) } else { Ok(()) }
}

/// A principal of the manager's, to be changed.
pub(super) async fn locked(tx: &mut PgConnection, manager: &Manager, id: Uuid) -> Result<Principal, Error> {
    principals::find_for_update(tx, manager.home, id).await?.ok_or(Error::PrincipalNotFound)
}

/// Writes what has changed, and cuts what was let in with more than is left.
async fn save(
    tx: &mut PgConnection,
    before: &Principal,
    mut after: Principal,
    now: Timestamp,
) -> Result<ServicePrincipal, Error> {
    if after == *before {
        return shown(tx, before).await;
    }
    after.version += 1;
    if after.outdates(before) {
        cut(tx, &mut after, now).await?;
    }
    principals::update(tx, &after).await?;
    told(tx, &after, now).await
}

/// Raises the epoch, and revokes in the same transaction what has a lower one.
pub(super) async fn cut(tx: &mut PgConnection, principal: &mut Principal, now: Timestamp) -> Result<(), Error> {
    principal.epoch += 1;
    let subject = (RevocationSubject::Principal, principal.id);
    revocations::insert(tx, principal.account, subject, principal.epoch, now).await
}

/// Tells of a changed principal, and shows it. One of the installation is in no account's feed.
pub(super) async fn told(
    tx: &mut PgConnection,
    principal: &Principal,
    now: Timestamp,
) -> Result<ServicePrincipal, Error> {
    let shown = shown(tx, principal).await?;
    if principal.account != INSTALLATION {
        events::principal_changed(tx, principal, shown.clone(), now).await?;
    }
    Ok(shown)
}

async fn shown(tx: &mut PgConnection, principal: &Principal) -> Result<ServicePrincipal, Error> {
    let credentials = principal_credentials::list(tx, principal.account, principal.id).await?;
    let acted = principals::acted(tx, principal.account, principal.id).await?;
    Ok(encode::principal(principal, &credentials, &acted))
}

/// The accounts that a principal may be for: an operator's are those that there are. A user's are for his own, which goes without
/// saying; any other is as unknown to him as one that there is not.
async fn allowed(tx: &mut PgConnection, manager: &Manager, accounts: &[Uuid]) -> Result<Vec<Uuid>, Error> {
    if manager.user.is_some() {
        let own = accounts.iter().all(|account| *account == manager.home);
        return if own { Ok(Vec::new()) } else { Err(Error::AccountNotFound) };
    }
    let known = principals::count_accounts(tx, accounts).await?;
    if usize::try_from(known).is_ok_and(|known| known == accounts.len()) {
        Ok(accounts.to_vec())
    } else {
        Err(Error::AccountNotFound)
    }
}

fn only_operators(fields: &mut Fields, manager: &Manager, all_accounts: bool) {
    if manager.user.is_some() && all_accounts {
        fields.refuse(ALL_ACCOUNTS, "FIELD_VALUE", &[("values", "false".to_owned())]);
    }
}

fn read(request_id: &str, principal_id: &str) -> Result<(String, Uuid), Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(request_id);
    let id = fields.uuid("principal_id", principal_id);
    fields.finish()?;
    Ok((request_id, id))
}
