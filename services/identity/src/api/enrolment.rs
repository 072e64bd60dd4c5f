//! Setting up a second factor within a sign-in, for whoever has none while his account demands one: an authenticator, or codes to his
//! WhatsApp number.
//!
//! The number waits for its code under the id of the challenge, so the code is worth something for this sign-in only. Who has confirmed
//! a number before can enrol that one only: alerts go to it, and a stolen password must not be enough to turn them elsewhere.

use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    BeginEnrolmentResponse, CompleteEnrolmentRequest, CompleteEnrolmentResponse, Factor, SendEnrolmentCodeRequest,
    SendEnrolmentCodeResponse, UserState,
};
use jiff::Timestamp;
use sqlx::PgConnection;

use super::{
    Api,
    challenge::{Answer, Done, owner},
    encode, fields, phone,
};
use crate::{
    client::Client,
    domain::{Code, FactorRefusal, PhoneNumber, SecondFactors, Token, User},
    error::Error,
    factors::{self, Whose},
    store::{
        challenges,
        jobs::{Effect, Job},
        numbers::{self, Pending},
        policies, second_factors, users,
    },
    throttle,
};

impl Api {
    pub(super) async fn enrol(&self, token: &Token) -> Result<BeginEnrolmentResponse, Fault> {
        let now = self.clock.now();
        let begun = self.database.transaction("begin enrolment", async |tx: &mut PgConnection| {
            let (whose, user, before) = enrolling(tx, token, now).await?;
            self.begin_enrolment(tx, whose, before, &user.email, now).await
        });
        Ok(BeginEnrolmentResponse { totp: Some(begun.await?) })
    }

    pub(super) async fn send_enrolment(
        &self,
        mut message: SendEnrolmentCodeRequest,
    ) -> Result<SendEnrolmentCodeResponse, Fault> {
        let token = fields::take_password(&mut message.challenge_token);
        let typed = fields::take_password(&mut message.number);
        let mut fields = Fields::new();
        fields::required(&mut fields, "challenge_token", &token);
        let given = if typed.is_empty() { None } else { fields::phone_number(&mut fields, "number", &typed) };
        fields.finish()?;
        let token = Token::read(&token).ok_or(FactorRefusal::ChallengeRefused).map_err(Error::from)?;
        let (whose, number) = self.number_to_enrol(&token, given).await?;
        let now = self.clock.now();
        throttle::fail(&self.database, &self.limits.number_code(whose.user, &number), now).await?;
        let sent = self.database.transaction("queue enrolment code", async |tx: &mut PgConnection| {
            self.propose_to_enrol(tx, &token, number.clone(), now).await
        });
        let until = sent.await?;
        self.effects.wake();
        Ok(SendEnrolmentCodeResponse { expires_at: Some(to_proto(until)) })
    }

    /// Whose enrolment it is, and which number it would be of. Nothing is locked: it is looked at once more under the lock.
    async fn number_to_enrol(&self, token: &Token, given: Option<PhoneNumber>) -> Result<(Whose, PhoneNumber), Fault> {
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let whose = owner(&mut connection, token, self.clock.now()).await?;
        if second_factors::find(&mut connection, whose.account, whose.user).await?.any() {
            return Err(Error::from(FactorRefusal::NotAvailable).into());
        }
        let confirmed = numbers::confirmed(&mut connection, whose.account, whose.user).await?;
        let Some(number) = given.or(confirmed) else {
            let mut fields = Fields::new();
            fields::required(&mut fields, "number", "");
            return Err(fields.finish().err().unwrap_or_else(|| Error::Unreadable("number").into()));
        };
        Ok((whose, number))
    }

    /// Until when the code is good.
    async fn propose_to_enrol(
        &self,
        tx: &mut PgConnection,
        token: &Token,
        number: PhoneNumber,
        now: Timestamp,
    ) -> Result<Timestamp, Error> {
        let (whose, ..) = enrolling(tx, token, now).await?;
        let confirmed = numbers::confirmed(tx, whose.account, whose.user).await?;
        if confirmed.is_some_and(|confirmed| confirmed != number) {
            return Err(FactorRefusal::NumberIsAnother.into());
        }
        let open = challenges::find(tx, token, now).await?.ok_or(FactorRefusal::ChallengeRefused)?;
        let pending = Pending { number, confirmation: token.subject, until: open.expires_at };
        numbers::propose(tx, whose.account, whose.user, &pending).await?;
        let send = Effect::SendNumberCode { user_id: whose.user, confirmation_id: token.subject };
        self.effects.leave(tx, &Job::new(whose.account, send)).await?;
        Ok(pending.until)
    }

    pub(super) async fn complete(
        &self,
        mut message: CompleteEnrolmentRequest,
        client: &Client,
    ) -> Result<CompleteEnrolmentResponse, Fault> {
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
        let done = self.database.transaction("complete enrolment", async |tx: &mut PgConnection| {
            self.enrolled(tx, &answer, client, now).await
        });
        let done = self.ended(&answer, done.await?).await?;
        Ok(CompleteEnrolmentResponse {
            tokens: Some(self.tokens(&done.pair)?),
            user: Some(encode::user(&done.pair.user)),
            device_token: done.device.map_or_else(String::new, |device| device.write()),
            recovery_codes: encode::codes(&done.codes),
        })
    }

    /// `None` is a refusal, which is committed all the same: it counts as a try.
    async fn enrolled(
        &self,
        tx: &mut PgConnection,
        answer: &Answer,
        client: &Client,
        now: Timestamp,
    ) -> Result<Option<Done>, Error> {
        policies::lock(tx, answer.token.account).await?;
        let whose = owner(tx, &answer.token, now).await?;
        let user = users::find_for_update(tx, whose.account, whose.user).await?;
        let user = self.tried(tx, answer, user, now).await?;
        let before = second_factors::find(tx, whose.account, whose.user).await?;
        let Some(after) = self.with_enrolled(tx, answer, whose, &before, now).await? else { return Ok(None) };
        throttle::succeed(tx, &answer.subjects, now).await?;
        let changed = factors::change(tx, whose, &before, after, now).await?;
        self.finish(tx, answer.trust, client, user, changed, now).await.map(Some)
    }

    /// The factors with the one that the code is of; `None` if it is of none.
    async fn with_enrolled(
        &self,
        tx: &mut PgConnection,
        answer: &Answer,
        whose: Whose,
        before: &SecondFactors,
        now: Timestamp,
    ) -> Result<Option<SecondFactors>, Error> {
        if before.any() {
            return Err(FactorRefusal::NotAvailable.into());
        }
        if answer.factor == Factor::Whatsapp {
            let number = phone::redeem(tx, whose, answer.token.subject, &answer.code, now).await;
            return match number {
                Err(Error::NumberConfirmationNotFound) => Err(FactorRefusal::NotAvailable.into()),
                number => Ok(number?.map(|_| before.with_whatsapp())),
            };
        }
        before.pending_at(now).ok_or(FactorRefusal::NotAvailable)?;
        self.confirmed(whose, before, &answer.code, now)
    }
}

/// Whoever can enrol by this challenge, locked, and what he has.
async fn enrolling(
    tx: &mut PgConnection,
    token: &Token,
    now: Timestamp,
) -> Result<(Whose, User, SecondFactors), Error> {
    let whose = owner(tx, token, now).await?;
    let user = users::find_for_update(tx, whose.account, whose.user).await?;
    let user = user.filter(|user| user.state == UserState::Active).ok_or(FactorRefusal::ChallengeRefused)?;
    // Once more: a change of factors has ended it.
    owner(tx, token, now).await?;
    let before = second_factors::find(tx, whose.account, whose.user).await?;
    if before.any() { Err(FactorRefusal::NotAvailable.into()) } else { Ok((whose, user, before)) }
}

fn factor(fields: &mut Fields, value: i32) -> Factor {
    match Factor::try_from(value) {
        Ok(Factor::Unspecified | Factor::Totp) => Factor::Totp,
        Ok(Factor::Whatsapp) => Factor::Whatsapp,
        _ => {
            fields.refuse("factor", "FIELD_VALUE", &[("values", "FACTOR_TOTP, FACTOR_WHATSAPP".to_owned())]);
            Factor::Unspecified
        }
    }
}
