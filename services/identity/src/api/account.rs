//! Accounts: sign-up, settings, and the confirmation of the owner's address.

use diwan_access::{account, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AccountState, ConfirmEmailRequest, ConfirmEmailResponse, GetAccountRequest, GetAccountResponse,
        ResendEmailConfirmationRequest, ResendEmailConfirmationResponse, SignUpRequest, SignUpResponse,
        UpdateAccountRequest, UpdateAccountResponse, UserState, account_service_server::AccountService,
    },
};
use diwan_runtime::{clock::after, ids};
use diwan_store::answers::{self, Request as Once};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, confirmation::LINK_LIFE, encode, fields};
use crate::{
    client::Client,
    domain::{Account, Profile, User, email_key},
    error::Error,
    events,
    passwords::Password,
    store::{
        accounts, confirmations,
        jobs::{Effect, Job},
        users,
    },
};

#[tonic::async_trait]
impl AccountService for Api {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.open_account(request.into_inner(), &client).await?))
    }

    async fn get_account(&self, request: Request<GetAccountRequest>) -> Result<Response<GetAccountResponse>, Status> {
        let account = self.account(account(&request)?).await.map_err(Fault::from)?;
        Ok(Response::new(GetAccountResponse { account: Some(encode::account(&account)) }))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<UpdateAccountResponse>, Status> {
        let id = user(&request)?.account_id;
        Ok(Response::new(self.update(id, request.into_inner()).await?))
    }

    async fn confirm_email(
        &self,
        request: Request<ConfirmEmailRequest>,
    ) -> Result<Response<ConfirmEmailResponse>, Status> {
        Ok(Response::new(self.confirm_address(&request.into_inner()).await?))
    }

    async fn resend_email_confirmation(
        &self,
        request: Request<ResendEmailConfirmationRequest>,
    ) -> Result<Response<ResendEmailConfirmationResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.ask_to_confirm(&caller, request.into_inner()).await?))
    }
}

impl Api {
    /// An account of a caller whose token proves that it exists.
    pub(super) async fn account(&self, id: Uuid) -> Result<Account, Error> {
        accounts::get(&mut *self.database.pool().acquire().await?, id).await
    }

    async fn open_account(&self, mut message: SignUpRequest, client: &Client) -> Result<SignUpResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let about = [&*message.email, &message.owner_name, &message.company];
        let weaknesses = self.weaknesses(&password, &about).await?;
        let (request_id, account, owner) = self.read_sign_up(&message, &password, &weaknesses)?;
        let email = email_key(&owner.email);
        let once = Once::new(Uuid::nil(), &strangers_id(&email, &request_id), "SignUp", &message);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        // Whoever asks for many addresses would learn which ones are taken.
        let subjects = self.limits.sign_up(client.address);
        self.admit(&subjects).await?;
        let hash = self.passwords.hash(password).await?;
        let language = account.language.tag().to_owned();
        let ask = Job::new(account.id, Effect::SendEmailConfirmation);
        let provision = Job::new(account.id, Effect::ProvisionAccount { owner_id: owner.id, language });
        let opened: Result<SignUpResponse, Error> = self
            .database
            .answer_once(&once, account.created_at, async |tx: &mut PgConnection| {
                accounts::reserve_email(tx, &email, account.id, owner.id).await?;
                accounts::insert(tx, &account).await?;
                users::insert(tx, &owner, Some(&hash)).await?;
                events::account_changed(tx, &account, account.created_at).await?;
                events::user_changed(tx, &owner, owner.created_at).await?;
                confirmations::renew(tx, account.id, owner.id, after(account.created_at, LINK_LIFE)).await?;
                self.effects.queue(tx, &provision).await?;
                self.effects.leave(tx, &ask).await?;
                Ok::<_, Error>(SignUpResponse {
                    account: Some(encode::account(&account)),
                    owner: Some(encode::user(&owner)),
                })
            })
            .await;
        let answer = self.counting_taken(&subjects, opened).await?;
        // Another try of the same request may have been first: then there is nothing of this account.
        if answer.account.as_ref().is_some_and(|made| made.id == account.id.to_string()) {
            self.effects.wake();
            self.effects.run(&provision).await;
        }
        Ok(answer)
    }

    fn read_sign_up(
        &self,
        message: &SignUpRequest,
        password: &Password,
        weaknesses: &[&'static str],
    ) -> Result<(String, Account, User), Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let (now, account_id) = (self.clock.now(), ids::new_id());
        let account = Account {
            id: account_id,
            name: fields.line("company", &message.company, 1..=200),
            time_zone: fields::time_zone(&mut fields, "time_zone", &message.time_zone),
            language: fields.language("language", &message.language),
            show_agent_name: false,
            email_confirmed: false,
            version: 1,
            created_at: now,
            state: AccountState::Active,
            closes_at: None,
        };
        let owner = User {
            id: ids::new_id(),
            account_id,
            name: fields.line("owner_name", &message.owner_name, 1..=200),
            email: fields.email("email", &message.email),
            role: Role::Owner,
            grants: Vec::new(),
            language: account.language,
            state: UserState::Active,
            has_password: true,
            epoch: 0,
            version: 1,
            created_at: now,
            profile: Profile::default(),
        };
        fields::new_password(&mut fields, "password", password, weaknesses);
        fields.finish()?;
        Ok((request_id, account, owner))
    }
}

/// All sign-ups share the nil account. With the address in it, one stranger's request id is not another's.
pub(super) fn strangers_id(email: &str, request_id: &str) -> String {
    let digest = Sha256::new().chain_update(email).chain_update([0]).chain_update(request_id).finalize();
    Uuid::from_slice(&digest[..16]).unwrap_or_default().to_string()
}
