//! What outlives a session is not given to whoever has stolen one; and what a user says of himself counts before he is the owner or after.

use sqlx::PgConnection;

use super::*;

/// Who waits for the barrier below.
const BARRIER: &str = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                       and database = (select oid from pg_database where datname = current_database())";

#[tokio::test]
async fn nobody_lets_a_principal_in_or_act_for_him_without_his_password() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let principal = house.principal(&owner, &[USERS]).await;
    let (secret, acting) = (secret_for(&principal.id), act_for(&principal.id, &[&owner.user.id]));
    let mut client = house.principals();
    for (password, answer) in
        [("", (Code::InvalidArgument, "INVALID_FIELDS")), ("not hers", (Code::PermissionDenied, "PASSWORD_WRONG"))]
    {
        let secret = AddPrincipalCredentialRequest { password: password.into(), ..secret.clone() };
        let acting = SetActingForRequest { password: password.into(), ..acting.clone() };
        assert_eq!(refusal(client.add_principal_credential(owner.says(secret)).await), refused(answer.0, answer.1));
        assert_eq!(refusal(client.set_acting_for(owner.says(acting)).await), refused(answer.0, answer.1));
    }
    assert_eq!(house.count("principal_credentials").await + house.count("acted_users").await, 0);
    client.add_principal_credential(owner.says(secret)).await.unwrap();
    client.set_acting_for(owner.says(acting)).await.unwrap();
    let create = CreateServicePrincipalRequest { all_accounts: true, ..create(&[LIST_USERS]) };
    let made =
        client.create_service_principal(house.by_operator(create)).await.unwrap().into_inner().principal.unwrap();
    let secret = AddPrincipalCredentialRequest { password: String::new(), ..secret_for(&made.id) };
    client.add_principal_credential(house.by_operator(secret)).await.unwrap();
}

#[tokio::test]
async fn a_person_is_told_once_of_what_begins_to_act_for_him() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let principal = house.principal(&owner, &[USERS]).await;
    let told = |to: &str| house.mails(to).into_iter().filter(|(subject, _)| subject.contains("Chat bridge")).count();
    for users in [&[&*agent.user.id][..], &[&agent.user.id, &owner.user.id]] {
        house.principals().set_acting_for(owner.says(act_for(&principal.id, users))).await.unwrap();
        eventually("the alerts are sent", LIMIT, async || house.count("jobs").await == 0).await;
    }
    assert_eq!((told("omar@example.com"), told("mona@example.com")), (1, 1));
}

#[tokio::test]
async fn nobody_may_read_a_persons_number_for_him() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    for scope in
        ["diwan.identity.v1.WhatsAppNumberService", "diwan.identity.v1.WhatsAppNumberService/GetWhatsAppNumber"]
    {
        let answer = house.principals().create_service_principal(owner.says(create(&[scope]))).await;
        assert_eq!(refusal(answer), refused(Code::InvalidArgument, "INVALID_FIELDS"), "{scope}");
    }
}

/// Holds up whoever has looked at a user and is about to write that a principal may act for him.
async fn barrier(connection: &mut PgConnection) {
    let barrier = "create function barrier() returns trigger language plpgsql as $$
            begin perform pg_advisory_xact_lock_shared(4711); return new; end $$;
        create trigger barrier before insert on acted_users for each row execute function barrier();
        select pg_advisory_lock(4711)";
    sqlx::raw_sql(barrier).execute(connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_himself_while_he_becomes_the_owner_has_done_so_before() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let principal = house.principal(&admin, &[USERS]).await;
    let secret = house.add_secret(&owner, &principal.id).await.secret;
    let mut ownership = OwnershipServiceClient::new(house.world.to("identity"));
    let offer = OfferOwnershipRequest { request_id: id(), user_id: admin.user.id.clone(), password: PASSWORD.into() };
    ownership.offer_ownership(owner.says(offer)).await.unwrap();

    let mut held = house.database.pool.acquire().await.unwrap();
    barrier(&mut held).await;
    let (mut client, acting) = (house.principals(), admin.says(act_for(&principal.id, &[&admin.user.id])));
    let naming = tokio::spawn(async move { client.set_acting_for(acting).await });
    let waits = async |query: &'static str| sqlx::query_scalar::<_, i64>(query).fetch_one(&house.database.pool).await;
    eventually("he is about to be named", LIMIT, async || waits(BARRIER).await.unwrap() == 1).await;
    let accept = admin.says(AcceptOwnershipRequest { request_id: id() });
    let inheriting = tokio::spawn(async move { ownership.accept_ownership(accept).await });
    let blocked =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                   and wait_event <> 'advisory'";
    eventually("he is the owner, or waits to become it", LIMIT, async || {
        inheriting.is_finished() || waits(blocked).await.unwrap() > 0
    })
    .await;
    sqlx::query("select pg_advisory_unlock(4711)").execute(&mut *held).await.unwrap();
    naming.await.unwrap().unwrap();
    inheriting.await.unwrap().unwrap();
    let answer = house.exchange(&secret, "", &admin.user.id).await;
    assert_eq!(refusal(answer), refused(Code::NotFound, "USER_NOT_FOUND"), "others could add credentials until now");
}
