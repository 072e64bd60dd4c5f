//! What a sign-in does and tells when it is refused.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use diwan_proto::access::v1::Role;
use diwan_runtime::Env;
use futures::future::join_all;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tracing::{Subscriber, field::Visit, span};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::{
    house::{House, PASSWORD, invite_request, refusal, refused, sign_up_request},
    throttle::{clock, house_at},
};

/// What happens within calls of a method, in its order: statements and runs of argon2.
#[derive(Clone)]
pub struct Path {
    method: &'static str,
    steps: Arc<Mutex<Vec<String>>>,
}

impl Path {
    pub fn of(method: &'static str) -> Self {
        Self { method, steps: Arc::default() }
    }

    /// What has happened since it was asked last.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap())
    }
}

struct Field<'a>(&'a str, Option<String>);

impl Visit for Field<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        if field.name() == self.0 {
            self.1 = Some(format!("{value:?}"));
        }
    }
}

fn field(attributes: &span::Attributes<'_>, name: &str) -> Option<String> {
    let mut field = Field(name, None);
    attributes.record(&mut field);
    field.1.map(|value| value.trim_matches('"').to_owned())
}

struct Within;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Path {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        if field(attributes, "rpc.method").as_deref() == Some(self.method) {
            span.extensions_mut().insert(Within);
        } else if span.scope().any(|span| span.extensions().get::<Within>().is_some()) {
            self.steps.lock().unwrap().extend(field(attributes, "otel.name"));
        }
    }
}

/// Everything that a caller is told.
fn told(status: &Status) -> (Code, String, Vec<u8>, Vec<String>) {
    let names = status.metadata().clone().into_headers();
    let mut trailers: Vec<_> = names.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    trailers.sort();
    (status.code(), status.message().to_owned(), status.details().to_vec(), trailers)
}

#[tokio::test]
async fn whoever_is_refused_took_the_same_path_and_is_told_the_same() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let careful = house.colleague(&owner, "careful@example.com", Role::User).await;
    house.enrol(&careful, &clock).await;
    let gone = house.colleague(&owner, "gone@example.com", Role::User).await;
    house.deactivate(&owner, &gone.user.id).await.unwrap();
    let team = house.others.add_team(&owner.user.account_id);
    house.users().invite_user(owner.says(invite_request("invited@example.com", &team))).await.unwrap();
    let path = Path::of("SignIn");
    let _recording = tracing::subscriber::set_default(tracing_subscriber::registry().with(path.clone()));
    let mut taken = Vec::new();
    for (email, password) in [
        ("mona@example.com", "not her password"),
        ("careful@example.com", "not her password"),
        ("gone@example.com", PASSWORD),
        ("invited@example.com", PASSWORD),
        ("nobody@example.com", PASSWORD),
    ] {
        let status = house.sign_in(email, password).await.unwrap_err();
        let steps = path.taken();
        taken.push((email, steps, told(&status)));
    }
    let (_, steps, (code, _, _, _)) = taken[0].clone();
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(steps.iter().filter(|step| *step == "argon2").count(), 1, "{steps:?}");
    for read in ["find address", "get credentials"] {
        assert!(steps.iter().any(|step| step == read), "{read} in {steps:?}");
    }
    for (email, others, status) in &taken {
        assert_eq!((others, status), (&steps, &taken[0].2), "{email}");
    }
}

#[tokio::test]
async fn a_hash_with_other_parameters_is_made_anew_at_the_next_sign_in() {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
    let house = House::new().await;
    house.owner("mona@example.com").await;
    let weaker = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8_192, 1, 1, None).unwrap());
    let old = weaker.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    sqlx::query("update users set password_hash = $1").bind(&old).execute(&house.database.pool).await.unwrap();
    let stored = async || -> String {
        sqlx::query_scalar("select password_hash from users").fetch_one(&house.database.pool).await.unwrap()
    };
    house.sign_in("mona@example.com", "not her password").await.unwrap_err();
    assert_eq!(stored().await, old);
    house.member("mona@example.com").await;
    let new = stored().await;
    assert!(new.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{new}");
    house.member("mona@example.com").await;
    assert_eq!(stored().await, new, "once is enough");
}

#[tokio::test]
async fn whoever_comes_when_the_line_is_full_is_told_to_come_back_and_it_does_not_count() {
    let env = Env::default().with("DIWAN_IDENTITY_PASSWORD_RUNS", "1").with("DIWAN_IDENTITY_PASSWORD_LINE", "2");
    let house = House::with(env).await;
    house.owner("mona@example.com").await;
    let answers = join_all((0..40).map(|_| house.sign_in("mona@example.com", PASSWORD))).await;
    let (good, busy): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(good.len() >= 3 && !busy.is_empty(), "{} good, {} busy", good.len(), busy.len());
    for status in busy.into_iter().map(Result::unwrap_err) {
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
        assert_eq!(refusal::<()>(Err(status)), refused(Code::ResourceExhausted, "SIGN_IN_BUSY"));
    }
    assert_eq!(house.count("failures").await, 0);
    house.member("mona@example.com").await;
}

#[tokio::test]
async fn a_password_that_is_easy_to_guess_is_refused_with_advice() {
    let house = House::new().await;
    for (weak, reasons) in [
        ("password123", &["PASSWORD_TOO_WEAK", "PASSWORD_WEAK_COMMON"][..]),
        ("monasaid1990", &["PASSWORD_TOO_WEAK"]),
        ("short", &["FIELD_LENGTH"]),
    ] {
        let request =
            diwan_proto::identity::v1::SignUpRequest { password: weak.into(), ..sign_up_request("mona@example.com") };
        let status = house.accounts().sign_up(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let violations = status.get_details_bad_request().unwrap().field_violations;
        assert!(violations.iter().all(|violation| violation.field == "password"), "{violations:?}");
        let found: Vec<_> = violations.iter().map(|violation| violation.reason.as_str()).collect();
        assert!(reasons.iter().all(|reason| found.contains(reason)), "{weak}: {found:?}");
    }
    assert_eq!(house.count("accounts").await, 0);
}
