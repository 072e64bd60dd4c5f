//! Passwords and tokens are nowhere to be found afterwards.

use std::{
    io,
    sync::{Arc, Mutex},
};

use diwan_proto::{
    access::v1::Role,
    identity::v1::{AnswerChallengeRequest, Factor, RefreshSessionRequest},
};
use diwan_runtime::Env;
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    house::{House, PASSWORD},
    second_factor::{Authenticator, STEP, answer_request},
    throttle::{clock, house_at},
};

#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl House {
    /// Every row of every table as text; binary columns as their text form shows them, in hexadecimal.
    pub async fn dump(&self) -> String {
        let tables: Vec<String> =
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
                .fetch_all(&self.database.pool)
                .await
                .unwrap();
        let mut dump = String::new();
        for table in tables {
            let rows = sqlx::AssertSqlSafe(format!("select coalesce(string_agg(t::text, E'\\n'), '') from {table} t"));
            dump += &sqlx::query_scalar::<_, String>(rows).fetch_one(&self.database.pool).await.unwrap();
        }
        dump
    }
}

fn base32(text: &str) -> Vec<u8> {
    totp_rs::Secret::try_from_base32(text).unwrap().as_ref().to_vec()
}

#[tokio::test]
async fn no_password_and_no_token_is_found_in_the_database_or_the_log() {
    use sha2::Digest as _;
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .init();
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    house.colleague(&owner, "omar@example.com", Role::User).await;
    let invitation = house.invitation_token("omar@example.com").await;
    let refresh = owner.tokens.refresh_token.clone();
    house.sessions().refresh_session(RefreshSessionRequest { refresh_token: refresh.clone() }).await.unwrap();
    let totp = house.begin_totp(&owner).await;
    let app = Authenticator::scanning(&totp);
    let recovery_code = house.confirm_totp(&owner, &app.code(&clock)).await.unwrap().recovery_codes.remove(0);
    let challenge = house.challenge("mona@example.com").await;
    clock.advance(STEP);
    let code = (Factor::Totp, app.code(&clock));
    let request = AnswerChallengeRequest { trust_device: true, ..answer_request(&challenge, code) };
    let device = house.challenges().answer_challenge(request).await.unwrap().into_inner().device_token;
    let secrets = [
        hex::encode(base32(&totp.secret)),
        totp.secret,
        recovery_code.replace('-', ""),
        recovery_code,
        hex::encode(&device),
        device,
        challenge.token,
        PASSWORD.to_owned(),
        hex::encode(PASSWORD),
        hex::encode(sha2::Sha256::digest(PASSWORD)),
        hex::encode(&invitation),
        hex::encode(&refresh),
        invitation,
        refresh,
        owner.tokens.access_token,
    ];
    let (dump, log) = (house.dump().await, String::from_utf8(log.0.lock().unwrap().clone()).unwrap());
    assert!(dump.contains("mona@example.com") && dump.contains("$argon2id$") && log.contains("sql"), "both were read");
    for secret in secrets {
        assert!(!dump.contains(&secret), "{secret} is in the database");
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}
