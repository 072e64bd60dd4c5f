//! What people say of themselves, and their pictures.

use std::{io::Cursor, time::Duration};

use diwan_proto::{
    access::v1::Role,
    feed::v1::{WatchEventsRequest, feed_service_client::FeedServiceClient},
    identity::v1::{
        GetPictureRequest, GetPictureResponse, GetUserRequest, PictureSize, Profile, RemovePictureRequest,
        SetPictureRequest, UpdateProfileRequest, User, UserChanged, profile_service_client::ProfileServiceClient,
    },
};
use diwan_runtime::{Env, ids};
use diwan_testkit::{bad_fields, eventually};
use diwan_transport::Transport;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use prost::{Message as _, Name as _};
use prost_types::FieldMask;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::{
    house::{House, LIMIT, Member, refusal, refused},
    throttle::{clock, house_at},
};

impl House {
    pub fn profiles(&self) -> ProfileServiceClient<Transport> {
        ProfileServiceClient::new(self.world.to("identity"))
    }

    pub async fn describe(&self, member: &Member, profile: Profile, paths: &[&str]) -> Result<User, Status> {
        let request = UpdateProfileRequest {
            request_id: ids::new_id().to_string(),
            profile: Some(profile),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        };
        Ok(self.profiles().update_profile(member.says(request)).await?.into_inner().user.unwrap())
    }

    pub async fn set_picture(&self, member: &Member, content: Vec<u8>) -> Result<User, Status> {
        let request = SetPictureRequest { request_id: ids::new_id().to_string(), content };
        Ok(self.profiles().set_picture(member.says(request)).await?.into_inner().user.unwrap())
    }

    async fn picture(&self, asker: &Member, of: &Member, size: PictureSize) -> Result<GetPictureResponse, Status> {
        let request = GetPictureRequest { user_id: of.user.id.clone(), size: size.into(), known_etag: String::new() };
        Ok(self.profiles().get_picture(asker.says(request)).await?.into_inner())
    }
}

pub fn png(side: u32, shade: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let image = RgbaImage::from_pixel(side, side, Rgba([shade, 10, 10, 255]));
    DynamicImage::ImageRgba8(image).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

fn profile(first: &str, last: &str) -> Profile {
    Profile { first_name: first.into(), last_name: last.into(), language: "pt".into(), ..Profile::default() }
}

#[tokio::test]
async fn a_person_changes_what_the_mask_names_and_the_others_learn_his_name() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    assert_eq!((agent.user.first_name.as_str(), agent.user.name.as_str()), ("", "Omar Hadi"));
    let named = house.describe(&agent, profile("عمر", "الهادي"), &["first_name", "last_name"]).await.unwrap();
    assert_eq!((named.name.as_str(), named.language.as_str()), ("عمر الهادي", agent.user.language.as_str()));
    assert_eq!((named.first_name.as_str(), named.last_name.as_str()), ("عمر", "الهادي"));
    let other = house.describe(&agent, profile("", ""), &["language", "last_name"]).await.unwrap();
    assert_eq!((other.name.as_str(), other.language.as_str(), other.version), ("عمر", "pt", named.version + 1));
    let same = house.describe(&agent, profile("", ""), &["language"]).await.unwrap();
    assert_eq!(same.version, other.version, "what changes nothing is not told");
    let request = GetUserRequest { user_id: agent.user.id.clone() };
    let seen = house.users().get_user(owner.says(request)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(seen, other);
    let mut feed = FeedServiceClient::new(house.world.to_as("identity", "conversation"));
    let mut events = feed.watch_events(WatchEventsRequest::default()).await.unwrap().into_inner();
    loop {
        let response = timeout(LIMIT, events.message()).await.unwrap().unwrap().unwrap();
        let told = response.events.into_iter().filter_map(|event| event.payload);
        let told = told.filter(|payload| payload.type_url.ends_with(&UserChanged::full_name()));
        if told.map(|payload| UserChanged::decode(&*payload.value).unwrap()).any(|it| it.user.as_ref() == Some(&other))
        {
            break;
        }
    }
}

#[tokio::test]
async fn a_profile_that_cannot_be_is_refused_field_by_field() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let bad =
        Profile { first_name: String::new(), last_name: "x".repeat(100), language: "fr".into(), ..Profile::default() };
    let refused = house.describe(&owner, bad.clone(), &["first_name", "last_name", "language"]).await.unwrap_err();
    assert_eq!(bad_fields(&refused), ["profile.first_name", "profile.last_name", "profile.language"]);
    for paths in [&["email"][..], &[]] {
        assert_eq!(bad_fields(&house.describe(&owner, bad.clone(), paths).await.unwrap_err()), ["update_mask"]);
    }
}

#[tokio::test]
async fn a_picture_is_seen_by_members_in_two_sizes_until_it_is_removed() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let stranger = house.owner("else@example.com").await;
    assert_eq!(
        refusal(house.picture(&owner, &agent, PictureSize::Large).await),
        refused(Code::NotFound, "PICTURE_NOT_FOUND")
    );
    let shown = house.set_picture(&agent, png(700, 200)).await.unwrap();
    let large = house.picture(&owner, &agent, PictureSize::Unspecified).await.unwrap();
    let small = house.picture(&owner, &agent, PictureSize::Small).await.unwrap();
    assert_eq!(large.etag, shown.picture_etag);
    for (picture, side) in [(&large, 512), (&small, 96)] {
        let decoded = image::load_from_memory_with_format(&picture.content, ImageFormat::Jpeg).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (side, side));
    }
    let known =
        GetPictureRequest { user_id: agent.user.id.clone(), known_etag: large.etag.clone(), ..Default::default() };
    let known = house.profiles().get_picture(owner.says(known)).await.unwrap().into_inner();
    assert!(known.content.is_empty() && known.etag == large.etag);
    assert_eq!(
        refusal(house.picture(&stranger, &agent, PictureSize::Large).await),
        refused(Code::NotFound, "USER_NOT_FOUND")
    );
    let other = house.set_picture(&agent, png(50, 90)).await.unwrap();
    assert_ne!(other.picture_etag, shown.picture_etag);
    let remove = RemovePictureRequest { request_id: ids::new_id().to_string() };
    let gone = house.profiles().remove_picture(agent.says(remove)).await.unwrap().into_inner().user.unwrap();
    assert!(gone.picture_etag.is_empty() && gone.version == other.version + 1);
    assert_eq!(
        refusal(house.picture(&owner, &agent, PictureSize::Small).await),
        refused(Code::NotFound, "PICTURE_NOT_FOUND")
    );
}

#[tokio::test]
async fn what_a_refused_call_has_stored_of_a_picture_is_deleted() {
    let clock = clock();
    let house = house_at(&clock, Env::default()).await;
    let owner = house.owner("mona@example.com").await;
    let request = SetPictureRequest { request_id: ids::new_id().to_string(), content: png(30, 1) };
    house.profiles().set_picture(owner.says(request.clone())).await.unwrap();
    let reused = SetPictureRequest { content: png(30, 200), ..request };
    let answer = refusal(house.profiles().set_picture(owner.says(reused)).await);
    assert_eq!(answer, refused(Code::InvalidArgument, "REQUEST_ID_REUSED"));
    eventually("what nobody has is deleted", LIMIT * 3, async || {
        clock.advance(Duration::from_mins(5));
        house.blobs("pictures", &owner.user.account_id) == 1 && house.count("jobs").await == 0
    })
    .await;
    let owner = house.member("mona@example.com").await;
    assert!(!house.picture(&owner, &owner, PictureSize::Large).await.unwrap().content.is_empty());
}

#[tokio::test]
async fn a_picture_that_is_replaced_or_removed_is_deleted_and_a_colleagues_equal_one_stays() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    let kept = async |pictures: usize| {
        eventually("what nobody has is deleted", LIMIT, async || {
            house.blobs("pictures", &owner.user.account_id) == pictures && house.count("jobs").await == 0
        })
        .await;
    };
    let request = SetPictureRequest { request_id: ids::new_id().to_string(), content: png(30, 1) };
    for _ in 0..2 {
        house.profiles().set_picture(agent.says(request.clone())).await.unwrap();
        kept(1).await;
    }
    house.set_picture(&owner, png(30, 1)).await.unwrap();
    house.set_picture(&owner, png(30, 1)).await.unwrap();
    kept(2).await;
    house.set_picture(&owner, png(30, 200)).await.unwrap();
    kept(2).await;
    let remove = RemovePictureRequest { request_id: ids::new_id().to_string() };
    house.profiles().remove_picture(owner.says(remove)).await.unwrap();
    kept(1).await;
    assert!(!house.picture(&owner, &agent, PictureSize::Large).await.unwrap().content.is_empty());
}

#[tokio::test]
async fn what_is_no_picture_is_a_bad_field_and_a_repeated_request_gets_its_first_answer() {
    let house = House::new().await;
    let owner = house.owner("mona@example.com").await;
    for content in [b"GIF89a".to_vec(), vec![], vec![0; 2 * 1024 * 1024 + 1]] {
        assert_eq!(bad_fields(&house.set_picture(&owner, content).await.unwrap_err()), ["content"]);
    }
    let request = SetPictureRequest { request_id: ids::new_id().to_string(), content: png(20, 1) };
    let first = house.profiles().set_picture(owner.says(request.clone())).await.unwrap().into_inner();
    house.set_picture(&owner, png(20, 250)).await.unwrap();
    let again = house.profiles().set_picture(owner.says(request.clone())).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = SetPictureRequest { content: png(20, 99), ..request };
    let status = house.profiles().set_picture(owner.says(other)).await.unwrap_err();
    assert_eq!(refusal(Err::<(), _>(status)).1, "REQUEST_ID_REUSED");
}
