//! Closing an account, and taking it back.

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AccountState, CloseAccountRequest, CloseAccountResponse, RevocationSubject, UndoClosingRequest,
        UndoClosingResponse, closing_service_server::ClosingService,
    },
};
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, encode, fields};
use crate::{
    client::Client,
    domain::{Account, Refusal},
    error::Error,
    events,
    store::{
        accounts, closings,
        jobs::{Effect, Job, Stage},
        revocations, users,
    },
};

#[tonic::async_trait]
impl ClosingService for Api {
    async fn close_account(
        &self,
        request: Request<CloseAccountRequest>,
    ) -> Result<Response<CloseAccountResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.close(&caller, &client, request.into_inner()).await?))
    }

    async fn undo_closing(
        &self,
        request: Request<UndoClosingRequest>,
    ) -> Result<Response<UndoClosingResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.keep_account(&caller, request.into_inner()).await?))
    }
}

impl Api {
    async fn close(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: CloseAccountRequest,
    ) -> Result<CloseAccountResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "CloseAccount", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(&self.find(account, caller.user_id).await?, client, password).await?;
        let tell = Job::new(account, Effect::SendClosing { stage: Stage::Begun });
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let before = owned(tx, caller).await?;
            let Some((account, remind_at)) = before.closing(now, self.closing_grace) else {
                return Ok(CloseAccountResponse { account: Some(encode::account(&before)) });
            };
            closings::set_state(tx, &account, Some(remind_at)).await?;
            closings::end_sessions(tx, account.id, Some(caller.user_id), now).await?;
            shut(tx, &account, now).await?;
            self.effects.leave(tx, &tell).await?;
            Ok::<_, Error>(CloseAccountResponse { account: Some(encode::account(&account)) })
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn keep_account(&self, caller: &Caller, message: UndoClosingRequest) -> Result<UndoClosingResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields.finish()?;
        let now = self.clock.now();
        let once = Once::new(caller.account_id, &request_id, "UndoClosing", &message).by(caller.user_id);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let account = owned(tx, caller).await?.kept().ok_or(Error::AccountNotClosing)?;
            closings::set_state(tx, &account, None).await?;
            events::account_changed(tx, &account, now).await?;
            Ok::<_, Error>(UndoClosingResponse { account: Some(encode::account(&account)) })
        });
        Ok(answer.await?)
    }
}

/// The caller's account, locked, if he is its owner still: his token may be older than a hand-over. The user is locked before the
/// account, as a sign-in does.
pub(super) async fn owned(tx: &mut PgConnection, caller: &Caller) -> Result<Account, Error> {
    let user = users::find_for_share(tx, caller.account_id, caller.user_id).await?.ok_or(Error::UserNotFound)?;
    if user.role != Role::Owner {
        return Err(Error::Refused(Refusal::NotTheOwner));
    }
    accounts::get_for_update(tx, caller.account_id).await
}

/// Revokes every access token of an account and tells of its new state, in the transaction that changes it. A sign-in holds the
/// account for share until its session is there: it finds the new state, or its session is ended with the others.
pub async fn shut(tx: &mut PgConnection, account: &Account, now: Timestamp) -> Result<(), Error> {
    let epoch = closings::raise_epoch(tx, account.id).await?;
    revocations::insert(tx, account.id, (RevocationSubject::Account, account.id), epoch, now).await?;
    events::account_changed(tx, account, now).await
}

/// Refuses somebody whom the state of his account keeps out, and keeps that state until the transaction ends.
pub async fn require_let_in(tx: &mut PgConnection, account: Uuid, role: Role) -> Result<(), Error> {
    let account = accounts::get_for_share(tx, account).await?;
    match account.state {
        _ if account.lets_in(role) => Ok(()),
        AccountState::Closing => Err(Error::AccountClosing),
        _ => Err(Error::SignInRefused),
    }
}

/// Refuses what would give an address or a seat to somebody of an account that is closed, and keeps it open until the transaction ends: the
/// end of the account finds what was given before it, and frees it.
pub(super) async fn require_open(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    match accounts::get_for_share(tx, account).await?.state {
        AccountState::Closed => Err(Error::SignInRefused),
        _ => Ok(()),
    }
}
