//! Settings of an account.

use diwan_fault::{Fault, Fields, Language};
use diwan_proto::identity::v1::{self as proto, UpdateAccountRequest, UpdateAccountResponse};
use diwan_store::answers::Request as Once;
use prost_types::FieldMask;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, encode, fields};
use crate::{domain::Account, error::Error, events, store::accounts};

const NAME: &str = "name";
const TIME_ZONE: &str = "time_zone";
const LANGUAGE: &str = "language";
const SHOW_AGENT_NAME: &str = "show_agent_name";
const CHANGEABLE: [&str; 4] = [NAME, TIME_ZONE, LANGUAGE, SHOW_AGENT_NAME];

/// The new values of what is to be changed.
struct Changes {
    name: Option<String>,
    time_zone: Option<String>,
    language: Option<Language>,
    show_agent_name: Option<bool>,
}

impl Changes {
    fn applied(&self, account: Account) -> Account {
        Account {
            name: self.name.clone().unwrap_or(account.name),
            time_zone: self.time_zone.clone().unwrap_or(account.time_zone),
            language: self.language.unwrap_or(account.language),
            show_agent_name: self.show_agent_name.unwrap_or(account.show_agent_name),
            version: account.version + 1,
            ..account
        }
    }
}

impl Api {
    pub(super) async fn update(&self, id: Uuid, message: UpdateAccountRequest) -> Result<UpdateAccountResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let changes = changes(&mut fields, &message.account.clone().unwrap_or_default(), message.update_mask.as_ref());
        fields.finish()?;
        let now = self.clock.now();
        let once = Once::new(id, &request_id, "UpdateAccount", &message);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let account = changes.applied(accounts::get_for_update(tx, id).await?);
            accounts::update(tx, &account, now).await?;
            events::account_changed(tx, &account, now).await?;
            Ok::<_, Error>(UpdateAccountResponse { account: Some(encode::account(&account)) })
        });
        Ok(answer.await?)
    }
}

/// The new values of the fields that `mask` names; the others are not looked at.
fn changes(fields: &mut Fields, account: &proto::Account, mask: Option<&FieldMask>) -> Changes {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        fields.refuse("update_mask", "FIELD_REQUIRED", &[]);
    } else if !paths.iter().all(|path| CHANGEABLE.contains(&path.as_str())) {
        fields.refuse("update_mask", "FIELD_VALUE", &[("values", CHANGEABLE.join(", "))]);
    }
    let named = |field: &str| paths.iter().any(|path| path == field);
    Changes {
        name: named(NAME).then(|| fields.line("account.name", &account.name, 1..=200)),
        time_zone: named(TIME_ZONE).then(|| fields::time_zone(fields, "account.time_zone", &account.time_zone)),
        language: named(LANGUAGE).then(|| fields.language("account.language", &account.language)),
        show_agent_name: named(SHOW_AGENT_NAME).then_some(account.show_agent_name),
    }
}
