//! Devices that a person trusts.

use std::time::Duration;

use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        AnswerChallengeRequest, AnswerChallengeResponse, ChangePasswordRequest, Device, ListDevicesRequest,
        RegenerateRecoveryCodesRequest, RevokeDeviceRequest, SignInRequest, SignInResponse,
        credential_service_client::CredentialServiceClient, device_service_client::DeviceServiceClient,
    },
};
use diwan_runtime::{Env, MockClock, ids};
use diwan_transport::Transport;
use tonic::Code;

use crate::{
    house::{House, Member, PASSWORD, refusal, refused},
    second_factor::{Authenticator, STEP, answer_request, totp},
    throttle::{clock, from, house_at},
};

const DAY: Duration = Duration::from_hours(24);

impl House {
    fn devices(&self) -> DeviceServiceClient<Transport> {
        DeviceServiceClient::new(self.world.to("identity"))
    }

    async fn devices_of(&self, member: &Member) -> Vec<Device> {
        self.devices().list_devices(member.says(ListDevicesRequest {})).await.unwrap().into_inner().devices
    }

    /// Signs in on a device that is trusted from then on.
    pub async fn trusting(&self, email: &str, app: &Authenticator, clock: &MockClock) -> AnswerChallengeResponse {
        let challenge = self.challenge(email).await;
        clock.advance(STEP);
        let request =
            AnswerChallengeRequest { trust_device: true, ..answer_request(&challenge, totp(&app.code(clock))) };
        self.challenges().answer_challenge(from("192.0.2.7", request)).await.unwrap().into_inner()
    }

    async fn sign_in_on(&self, device: &str, email: &str, password: &str) -> SignInResponse {
        let request = SignInRequest { email: email.into(), password: password.into(), device_token: device.into() };
        self.sessions().sign_in(request).await.unwrap().into_inner()
    }

    pub async fn is_trusted(&self, device: &str, email: &str) -> bool {
        self.sign_in_on(device, email, PASSWORD).await.challenge.is_none()
    }
}

fn revoke_request(device: &str) -> RevokeDeviceRequest {
    RevokeDeviceRequest { request_id: ids::new_id().to_string(), device_id: device.into() }
}

#[tokio::test]
async fn a_trusted_device_needs_the_password_alone_for_30_days_and_only_for_its_user() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, "omar@example.com", Role::User).await;
    let (app, _) = house.enrol(&owner, &clock).await;
    house.enrol(&omar, &clock).await;
    let signed_in = house.trusting("mona@example.com", &app, &clock).await;
    let device = signed_in.device_token;
    let on_device = house.sign_in_on(&device, "mona@example.com", PASSWORD).await;
    let member = Member { user: on_device.user.unwrap(), tokens: on_device.tokens.unwrap() };
    let devices = house.devices_of(&member).await;
    assert_eq!((devices.len(), devices[0].address.as_str()), (1, "192.0.2.7"));
    assert!(house.devices_of(&omar).await.is_empty());
    assert!(!house.is_trusted(&device, "omar@example.com").await, "another user of the account");
    assert!(!house.is_trusted("", "mona@example.com").await && !house.is_trusted("nonsense", "mona@example.com").await);
    let wrong =
        SignInRequest { email: "mona@example.com".into(), password: "wrong".into(), device_token: device.clone() };
    let answer = house.sessions().sign_in(wrong).await;
    assert_eq!(refusal(answer), refused(Code::Unauthenticated, "SIGN_IN_REFUSED"));
    clock.advance(29 * DAY);
    assert!(house.is_trusted(&device, "mona@example.com").await);
    clock.advance(DAY);
    assert!(!house.is_trusted(&device, "mona@example.com").await);
}

#[tokio::test]
async fn a_revoked_device_is_asked_again_and_nobody_revokes_anothers() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let omar = house.colleague(&owner, "omar@example.com", Role::Admin).await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let device = house.trusting("mona@example.com", &app, &clock).await.device_token;
    let id = house.devices_of(&owner).await.remove(0).id;
    let not_found = refused(Code::NotFound, "DEVICE_NOT_FOUND");
    assert_eq!(refusal(house.devices().revoke_device(omar.says(revoke_request(&id))).await), not_found);
    let request = revoke_request(&id);
    house.devices().revoke_device(owner.says(request.clone())).await.unwrap();
    house.devices().revoke_device(owner.says(request)).await.unwrap();
    assert_eq!(refusal(house.devices().revoke_device(owner.says(revoke_request(&id))).await), not_found);
    assert!(!house.is_trusted(&device, "mona@example.com").await);
    assert!(house.devices_of(&owner).await.is_empty());
}

#[tokio::test]
async fn no_device_is_trusted_after_a_changed_factor_or_a_changed_password() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let device = house.trusting("mona@example.com", &app, &clock).await.device_token;
    let request = RegenerateRecoveryCodesRequest { password: PASSWORD.into(), ..Default::default() };
    house.factors().regenerate_recovery_codes(owner.says(request)).await.unwrap();
    assert!(!house.is_trusted(&device, "mona@example.com").await);
    let device = house.trusting("mona@example.com", &app, &clock).await.device_token;
    let challenge = house.challenge("mona@example.com").await;
    let new = "a quiet harbour at dawn";
    let request = ChangePasswordRequest {
        request_id: ids::new_id().to_string(),
        current_password: PASSWORD.into(),
        new_password: new.into(),
        new_password_confirmation: new.into(),
    };
    CredentialServiceClient::new(house.world.to("identity")).change_password(owner.says(request)).await.unwrap();
    assert!(house.sign_in_on(&device, "mona@example.com", new).await.challenge.is_some());
    clock.advance(STEP);
    let late = house.answer(&challenge, totp(&app.code(&clock))).await;
    assert_eq!(refusal(late), refused(Code::Unauthenticated, "CHALLENGE_REFUSED"), "it was given the old password");
}

#[tokio::test]
async fn of_more_than_fifty_devices_the_oldest_is_forgotten() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let (app, _) = house.enrol(&owner, &clock).await;
    let first = house.trusting("mona@example.com", &app, &clock).await.device_token;
    sqlx::query(
        "insert into trusted_devices
         select account_id, gen_random_uuid(), user_id, secret_hash, '', null, trusted_at + interval '1 second', last_used_at,
                expires_at
         from trusted_devices, generate_series(1, 49)",
    )
    .execute(&house.database.pool)
    .await
    .unwrap();
    assert!(house.is_trusted(&first, "mona@example.com").await);
    let last = house.trusting("mona@example.com", &app, &clock).await.device_token;
    assert!(!house.is_trusted(&first, "mona@example.com").await && house.is_trusted(&last, "mona@example.com").await);
    assert_eq!(house.count("trusted_devices").await, 50);
}
