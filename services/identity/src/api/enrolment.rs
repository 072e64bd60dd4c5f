//! Setting up an authenticator within a sign-in, for whoever has no second factor while his account demands one.

use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    BeginEnrolmentResponse, CompleteEnrolmentRequest, CompleteEnrolmentResponse, Factor, UserState,
};
use jiff::Timestamp;
use sqlx::PgConnection;

use super::{
    Api,
    challenge::{Answer, Done, owner},
    encode, fields,
};
use crate::{
    client::Client,
    domain::{Code, FactorRefusal, Token},
    error::Error,
    factors,
    store::{policies, second_factors, users},
    throttle,
};

impl Api {
    pub(super) async fn enrol(&self, token: &Token) -> Result<BeginEnrolmentResponse, Fault> {
        let now = self.clock.now();
        let begun = self.database.transaction("begin enrolment", async |tx: &mut PgConnection| {
            let whose = owner(tx, token, now).await?;
            let user = users::find_for_update(tx, whose.account, whose.user).await?;
            let user = user.filter(|user| user.state == UserState::Active).ok_or(FactorRefusal::ChallengeRefused)?;
            // Once more: a change of factors has ended it.
            owner(tx, token, now).await?;
            let before = second_factors::find(tx, whose.account, whose.user).await?;
            if before.any() {
                return Err(FactorRefusal::NotAvailable.into());
            }
            self.begin_enrolment(tx, whose, before, &user.email, now).await
        });
        Ok(BeginEnrolmentResponse { totp: Some(begun.await?) })
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
        fields.finish()?;
        let token = Token::read(&token).ok_or(FactorRefusal::ChallengeRefused).map_err(Error::from)?;
        let subjects = self.admitted(&token, client).await?;
        let (factor, trust) = (Factor::Totp, message.trust_device);
        let answer = Answer { token, factor, code: Code::typed(&typed), trust, subjects };
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
        if before.any() || before.pending_at(now).is_none() {
            return Err(FactorRefusal::NotAvailable.into());
        }
        let Some(after) = self.confirmed(whose, &before, &answer.code, now)? else { return Ok(None) };
        throttle::succeed(tx, &answer.subjects, now).await?;
        let changed = factors::change(tx, whose, &before, after, now).await?;
        self.finish(tx, answer.trust, client, user, changed, now).await.map(Some)
    }
}
