//! Credentials of service principals: good once, for a time, and not to be guessed.

use super::*;

fn remove(principal: &str, credential: &str) -> RemovePrincipalCredentialRequest {
    RemovePrincipalCredentialRequest {
        request_id: id(),
        principal_id: principal.into(),
        credential_id: credential.into(),
    }
}

/// Someone else's key pair.
struct Signer {
    key: EncodingKey,
    pem: String,
}

impl Signer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
        let public = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap().public_key().as_ref().to_vec();
        let spki = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &public].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(spki));
        Self { key: EncodingKey::from_ed_der(document.as_ref()), pem }
    }

    fn assertion(&self, principal: &str, credential: &str, exp: i64) -> String {
        let header = Header { kid: Some(credential.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let claims = json!({"iss": principal, "sub": principal, "aud": "diwan", "exp": exp, "jti": id()});
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

#[tokio::test]
async fn a_repeated_addition_shows_the_same_credential_without_its_secret() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let request = secret_for(&principal.id);
    let add =
        async || house.principals().add_principal_credential(owner.says(request.clone())).await.unwrap().into_inner();
    let (first, second) = (add().await, add().await);
    assert_eq!(first.credential, second.credential);
    assert_eq!((first.secret.is_empty(), second.secret.as_str()), (false, ""));
    assert_eq!(house.count("principal_credentials").await, 1);
}

#[tokio::test]
async fn an_assertion_is_taken_once_however_many_bring_it_at_once() {
    let clock = clock();
    let house = house_at(&clock, Default::default()).await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let signer = Signer::new();
    let request = AddPrincipalCredentialRequest { public_key: signer.pem.clone(), ..secret_for(&principal.id) };
    let added = house.principals().add_principal_credential(owner.says(request)).await.unwrap().into_inner();
    assert_eq!((added.secret.as_str(), &added.credential.as_ref().unwrap().public_key), ("", &signer.pem));
    let credential = added.credential.unwrap().id;
    let assertion = |seconds| signer.assertion(&principal.id, &credential, clock.now().as_second() + seconds);

    let one = assertion(60);
    let answers = join_all((0..8).map(|_| house.exchange(&one, "", ""))).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), 1);
    for answer in bad {
        assert_eq!(refusal(answer), credential_refused());
    }
    assert_eq!(house.lists_users(&good.into_iter().next().unwrap().unwrap().access_token).await.unwrap(), 1);
    assert!(house.exchange(&assertion(60), "", "").await.is_ok());
    let stranger = Signer::new().assertion(&principal.id, &credential, clock.now().as_second() + 60);
    for bad in [assertion(0), assertion(3600), stranger] {
        assert_eq!(refusal(house.exchange(&bad, "", "").await), credential_refused());
    }
}

#[tokio::test]
async fn credentials_rotate_without_a_gap_and_a_removed_one_takes_its_tokens_along() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let (old, new) = (house.add_secret(&owner, &principal.id).await, house.add_secret(&owner, &principal.id).await);
    let (before, after) = (house.token(&old.secret).await, house.token(&new.secret).await);
    let old_id = old.credential.unwrap().id;
    house.principals().remove_principal_credential(owner.says(remove(&principal.id, &old_id))).await.unwrap();
    house.learn_epoch(&old_id, 1).await;
    assert_eq!(refusal(house.lists_users(&before).await), refused(Code::Unauthenticated, "UNAUTHENTICATED"));
    assert_eq!(refusal(house.exchange(&old.secret, "", "").await), credential_refused());
    assert_eq!(house.lists_users(&after).await.unwrap(), 1, "the new one's token stays good");
    assert!(house.exchange(&new.secret, "", "").await.is_ok());
    let again = house.principals().remove_principal_credential(owner.says(remove(&principal.id, &old_id))).await;
    assert_eq!(refusal(again), refused(Code::NotFound, "CREDENTIAL_NOT_FOUND"));
}

#[tokio::test]
async fn a_credential_is_good_until_its_time_and_no_token_outlives_it() {
    let clock = clock();
    let house = house_at(&clock, Default::default()).await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let added = house.add_secret(&owner, &principal.id).await;
    let early = house.token(&added.secret).await;
    let credential = added.credential.unwrap().id;
    let end = clock.now() + Duration::from_mins(1);
    let expire = |at: Timestamp| ExpirePrincipalCredentialRequest {
        request_id: id(),
        principal_id: principal.id.clone(),
        credential_id: credential.clone(),
        expires_at: Some(std::time::SystemTime::from(at).into()),
    };
    house.principals().expire_principal_credential(owner.says(expire(end))).await.unwrap();
    house.learn_epoch(&credential, 1).await;
    assert_eq!(house.lists_users(&early).await.unwrap_err().code(), Code::Unauthenticated, "it would live longer");
    let answer = house.exchange(&added.secret, "", "").await.unwrap();
    assert_eq!(answer.expires_at.unwrap().seconds, end.as_second());
    assert_eq!(house.lists_users(&answer.access_token).await.unwrap(), 1);
    clock.advance(Duration::from_mins(1));
    assert_eq!(refusal(house.exchange(&added.secret, "", "").await), credential_refused());
    assert_eq!(house.lists_users(&answer.access_token).await.unwrap_err().code(), Code::Unauthenticated);
    let past = house.principals().expire_principal_credential(owner.says(expire(end))).await;
    assert_eq!(past.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_principal_has_ten_credentials_at_most_also_when_they_come_at_once() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let requests: Vec<_> = (0..14).map(|_| owner.says(secret_for(&principal.id))).collect();
    let added =
        requests.into_iter().map(|request| async { house.principals().add_principal_credential(request).await });
    let refusals: Vec<_> = join_all(added).await.into_iter().filter(Result::is_err).map(refusal).collect();
    assert_eq!(refusals, vec![refused(Code::FailedPrecondition, "TOO_MANY_CREDENTIALS"); 4]);
    assert_eq!(house.count("principal_credentials").await, 10);
}

#[tokio::test]
async fn whoever_presents_wrong_credentials_is_slowed_down_and_shuts_nobody_else_out() {
    let house = house_at(&clock(), Default::default()).await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[LIST_USERS]).await;
    let (one, two) = (house.add_secret(&owner, &principal.id).await, house.add_secret(&owner, &principal.id).await);
    let wrong =
        Signer::new().assertion(&principal.id, &one.credential.unwrap().id, house.world.clock.now().as_second() + 60);
    let exchange = async |credential: &str| {
        let request = ExchangeCredentialRequest { credential: credential.into(), ..Default::default() };
        PrincipalTokenServiceClient::new(house.world.to("identity"))
            .exchange_credential(from("192.0.2.1", request))
            .await
    };
    for _ in 0..10 {
        assert_eq!(refusal(exchange(&wrong).await), credential_refused());
    }
    assert_eq!(refusal(exchange(&wrong).await), refused(Code::ResourceExhausted, "TOO_MANY_ATTEMPTS"));
    assert!(exchange(&two.secret).await.is_ok(), "another credential is another counter");
    assert_eq!(refusal(exchange("nonsense").await), credential_refused());
}
