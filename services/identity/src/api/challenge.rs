//! The second step of a sign-in.
//!
//! A challenge exists only for somebody whose password was right, so that it tells nobody else whether there is one.

use std::time::Duration;

use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    AnswerChallengeRequest, AnswerChallengeResponse, BeginEnrolmentRequest, BeginEnrolmentResponse,
    CompleteEnrolmentRequest, CompleteEnrolmentResponse, Factor, SendChallengeCodeRequest, SendChallengeCodeResponse,
    SendEnrolmentCodeRequest, SendEnrolmentCodeResponse, SignInChallenge, UserState,
    challenge_service_server::ChallengeService,
};
use diwan_runtime::{clock::after, ids};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, closing::require_let_in, encode, fields, session::Pair};
use crate::{
    client::Client,
    codes,
    domain::{Bound, Code, FactorRefusal, Purpose, SecondFactors, Token, User},
    error::Error,
    events,
    factors::{self, Whose},
    recovery,
    store::{
        challenges, devices,
        jobs::{Effect, Job},
        numbers, policies, second_factors, users,
    },
    throttle::{self, Subject},
};

const LIFE: Duration = Duration::from_mins(10);
const TRIES: i32 = 5;
/// How long a device is trusted.
const TRUST: Duration = Duration::from_hours(30 * 24);
/// How many devices a person can trust; one more takes the place of the oldest.
const DEVICES: i64 = 50;

/// What answers a challenge.
pub(super) struct Answer {
    pub(super) token: Token,
    pub(super) factor: Factor,
    pub(super) code: Code,
    /// Whether the device is to be trusted.
    pub(super) trust: bool,
    /// Who is counted for a wrong code.
    pub(super) subjects: Vec<Subject>,
}

/// A sign-in that came to its end.
pub(super) struct Done {
    /// The session.
    pub(super) pair: Pair,
    /// Of the device, if it is trusted from now on.
    pub(super) device: Option<Token>,
    factors: SecondFactors,
    /// New recovery codes.
    pub(super) codes: Vec<Code>,
}

#[tonic::async_trait]
impl ChallengeService for Api {
    async fn send_challenge_code(
        &self,
        request: Request<SendChallengeCodeRequest>,
    ) -> Result<Response<SendChallengeCodeResponse>, Status> {
        let token = read(&mut request.into_inner().challenge_token)?;
        Ok(Response::new(self.send_code(&token).await?))
    }

    async fn answer_challenge(
        &self,
        request: Request<AnswerChallengeRequest>,
    ) -> Result<Response<AnswerChallengeResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.answer(request.into_inner(), &client).await?))
    }

    async fn begin_enrolment(
        &self,
        request: Request<BeginEnrolmentRequest>,
    ) -> Result<Response<BeginEnrolmentResponse>, Status> {
        let token = read(&mut request.into_inner().challenge_token)?;
        Ok(Response::new(self.enrol(&token).await?))
    }

    async fn send_enrolment_code(
        &self,
        request: Request<SendEnrolmentCodeRequest>,
    ) -> Result<Response<SendEnrolmentCodeResponse>, Status> {
        Ok(Response::new(self.send_enrolment(request.into_inner()).await?))
    }

    async fn complete_enrolment(
        &self,
        request: Request<CompleteEnrolmentRequest>,
    ) -> Result<Response<CompleteEnrolmentResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.complete(request.into_inner(), &client).await?))
    }
}

impl Api {
    /// What a user whose password was right has still to prove; `None`: nothing. His row is locked.
    pub(super) async fn second_step(
        &self,
        tx: &mut PgConnection,
        user: &User,
        device: Option<&Token>,
        now: Timestamp,
    ) -> Result<Option<SignInChallenge>, Error> {
        let factors = second_factors::find(tx, user.account_id, user.id).await?;
        let is_asked = match (factors.any(), device) {
            (true, Some(device)) => !devices::recognize(tx, device, user.account_id, user.id, now).await?,
            (true, None) => true,
            (false, _) => policies::demands(tx, user.account_id).await?,
        };
        if !is_asked {
            return Ok(None);
        }
        let (token, expires_at) = (Token::new(user.account_id, ids::new_id()), after(now, LIFE));
        challenges::insert(tx, &token, user.id, expires_at).await?;
        let has_whatsapp_number = !factors.any() && numbers::confirmed(tx, user.account_id, user.id).await?.is_some();
        Ok(Some(SignInChallenge {
            token: token.write(),
            expires_at: Some(to_proto(expires_at)),
            factors: factors.factors().into_iter().map(i32::from).collect(),
            has_whatsapp_number,
        }))
    }

    async fn send_code(&self, token: &Token) -> Result<SendChallengeCodeResponse, Fault> {
        let now = self.clock.now();
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let open = challenges::find(&mut connection, token, now).await?.ok_or(FactorRefusal::ChallengeRefused);
        let open = open.map_err(Error::from)?;
        let factors = second_factors::find(&mut connection, token.account, open.user).await?;
        let number = numbers::confirmed(&mut connection, token.account, open.user).await?;
        drop(connection);
        if !factors.whatsapp || number.is_none() {
            return Err(Error::from(FactorRefusal::NotAvailable).into());
        }
        throttle::fail(&self.database, &self.limits.challenge_code(open.user), now).await?;
        let send =
            Effect::SendSignInCode { user_id: open.user, challenge_id: token.subject, good_until: open.expires_at };
        let send = Job::new(token.account, send);
        self.database
            .transaction("queue code", async |tx: &mut PgConnection| self.effects.leave(tx, &send).await)
            .await?;
        self.effects.wake();
        Ok(SendChallengeCodeResponse { expires_at: Some(to_proto(open.expires_at)) })
    }

    async fn answer(
        &self,
        mut message: AnswerChallengeRequest,
        client: &Client,
    ) -> Result<AnswerChallengeResponse, Fault> {
        let (token, typed) =
            (fields::take_password(&mut message.challenge_token), fields::take_password(&mut message.code));
        let mut fields = Fields::new();
        fields::required(&mut fields, "challenge_token", &token);
        fields::required(&mut fields, "code", &typed);
        let factor = factor(&mut fields, message.factor);
        fields.finish()?;
        let token = Token::read(&token).ok_or(FactorRefusal::ChallengeRefused).map_err(Error::from)?;
        let subjects = self.admitted(&token, client).await?;
        let answer = Answer { token, factor, code: Code::typed(&typed), trust: message.trust_device, subjects };
        let now = self.clock.now();
        let done = self.database.transaction("answer challenge", async |tx: &mut PgConnection| {
            self.answered(tx, &answer, client, now).await
        });
        let done = self.ended(&answer, done.await?).await?;
        Ok(AnswerChallengeResponse {
            tokens: Some(self.tokens(&done.pair)?),
            user: Some(encode::user(&done.pair.user)),
            device_token: done.device.map_or_else(String::new, |device| device.write()),
            recovery_codes_left: done.factors.recovery_codes,
        })
    }

    /// Who would be counted for a wrong code, if he is not kept waiting already.
    pub(super) async fn admitted(&self, token: &Token, client: &Client) -> Result<Vec<Subject>, Error> {
        let mut connection = self.database.pool().acquire().await?;
        let open = challenges::find(&mut connection, token, self.clock.now()).await?;
        let subjects = self.limits.code(open.ok_or(FactorRefusal::ChallengeRefused)?.user, client.address);
        throttle::admit(&mut connection, &subjects, self.clock.now()).await?;
        Ok(subjects)
    }

    /// `None` is a refusal, which is committed all the same: it counts as a try.
    ///
    /// A code is used once, whatever comes at once: answers to one challenge wait for its row, and those to several for the row
    /// of the code; see [`challenges::count_try`], [`second_factors::take_step`], [`codes::redeem`].
    async fn answered(
        &self,
        tx: &mut PgConnection,
        answer: &Answer,
        client: &Client,
        now: Timestamp,
    ) -> Result<Option<Done>, Error> {
        let whose = owner(tx, &answer.token, now).await?;
        // Held until the session is there: a deactivation or a changed factor finds either no session or this one.
        let user = users::find_for_share(tx, whose.account, whose.user).await?;
        let user = self.tried(tx, answer, user, now).await?;
        if !self.redeemed(tx, answer, whose, now).await? {
            return Ok(None);
        }
        throttle::succeed(tx, &answer.subjects, now).await?;
        challenges::remove(tx, &answer.token).await?;
        recovery::stop(tx, whose, now).await?;
        let factors = second_factors::find(tx, whose.account, whose.user).await?;
        self.finish(tx, answer.trust, client, user, (factors, Vec::new()), now).await.map(Some)
    }

    /// Counts the try, if the challenge is open and its user may still sign in.
    pub(super) async fn tried(
        &self,
        tx: &mut PgConnection,
        answer: &Answer,
        user: Option<User>,
        now: Timestamp,
    ) -> Result<User, Error> {
        let user = user.filter(|user| user.state == UserState::Active).ok_or(FactorRefusal::ChallengeRefused)?;
        require_let_in(tx, user.account_id, user.role).await?;
        if !challenges::count_try(tx, &answer.token, TRIES, now).await? {
            return Err(FactorRefusal::ChallengeRefused.into());
        }
        Ok(user)
    }

    async fn redeemed(
        &self,
        tx: &mut PgConnection,
        answer: &Answer,
        whose: Whose,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let factors = second_factors::find(tx, whose.account, whose.user).await?;
        if !factors.factors().contains(&answer.factor) {
            return Ok(false);
        }
        match answer.factor {
            Factor::Totp => factors::spend_totp(tx, &self.vault, whose, &factors, &answer.code, now).await,
            Factor::Whatsapp => {
                let (account, request) = (whose.account, answer.token.subject);
                codes::redeem(tx, &Bound { account, purpose: Purpose::SignIn, request }, &answer.code, now).await
            }
            Factor::RecoveryCode => factors::spend_recovery_code(tx, whose, &answer.code).await,
            Factor::Unspecified => Ok(false),
        }
    }

    pub(super) async fn finish(
        &self,
        tx: &mut PgConnection,
        trust: bool,
        client: &Client,
        user: User,
        (factors, codes): (SecondFactors, Vec<Code>),
        now: Timestamp,
    ) -> Result<Done, Error> {
        let device = if trust { Some(trust_device(tx, &user, client, now).await?) } else { None };
        let pair = self.start_session(tx, user, client, now).await?;
        Ok(Done { pair, device, factors, codes })
    }

    /// Counts a refusal.
    pub(super) async fn ended(&self, answer: &Answer, done: Option<Done>) -> Result<Done, Error> {
        if done.is_none() {
            throttle::fail(&self.database, &answer.subjects, self.clock.now()).await?;
        }
        self.effects.wake();
        done.ok_or(FactorRefusal::AnswerRefused.into())
    }
}

/// Whose the open challenge is. Not locked: he is to be locked first.
pub(super) async fn owner(tx: &mut PgConnection, token: &Token, now: Timestamp) -> Result<Whose, Error> {
    let open = challenges::find(tx, token, now).await?.ok_or(FactorRefusal::ChallengeRefused)?;
    Ok(Whose { account: token.account, user: open.user })
}

async fn trust_device(tx: &mut PgConnection, user: &User, client: &Client, now: Timestamp) -> Result<Token, Error> {
    let token = Token::new(user.account_id, ids::new_id());
    let device = devices::insert(tx, &token, user.id, client, now, after(now, TRUST)).await?;
    devices::remove_beyond(tx, user.account_id, user.id, DEVICES).await?;
    events::device_changed(tx, user.account_id, user.id, &device, false, now).await?;
    Ok(token)
}

fn read(token: &mut String) -> Result<Token, Fault> {
    let token = fields::take_password(token);
    let mut fields = Fields::new();
    fields::required(&mut fields, "challenge_token", &token);
    fields.finish()?;
    Ok(Token::read(&token).ok_or(FactorRefusal::ChallengeRefused).map_err(Error::from)?)
}

fn factor(fields: &mut Fields, value: i32) -> Factor {
    if let Ok(factor @ (Factor::Totp | Factor::Whatsapp | Factor::RecoveryCode)) = Factor::try_from(value) {
        return factor;
    }
    let values = "FACTOR_TOTP, FACTOR_WHATSAPP, FACTOR_RECOVERY_CODE".to_owned();
    fields.refuse("factor", "FIELD_VALUE", &[("values", values)]);
    Factor::Unspecified
}
