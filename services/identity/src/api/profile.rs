//! What a person says of himself, and his picture.

use std::{mem, time::Duration};

use diwan_access::{User as Caller, user};
use diwan_blobs::Blobs;
use diwan_fault::{Fault, Fields, Language};
use diwan_proto::identity::v1::{
    self as proto, GetPictureRequest, GetPictureResponse, PictureSize, RemovePictureRequest, RemovePictureResponse,
    SetPictureRequest, SetPictureResponse, UpdateProfileRequest, UpdateProfileResponse,
    profile_service_server::ProfileService,
};
use diwan_runtime::{clock::after, ids};
use diwan_store::answers::Request as Once;
use jiff::Timestamp;
use prost_types::FieldMask;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, encode, fields};
use crate::{
    data::PICTURES,
    domain::{PhoneNumber, Picture, Profile, User},
    error::Error,
    events,
    store::{
        jobs::{self, Effect, Job},
        profiles, users,
    },
};

/// No call that sets a picture takes so long.
const LONGEST_CALL: Duration = Duration::from_hours(1);
const FIRST_NAME: &str = "first_name";
const LAST_NAME: &str = "last_name";
const LANGUAGE: &str = "language";
const PHONE: &str = "phone";
const CHANGEABLE: [&str; 4] = [FIRST_NAME, LAST_NAME, LANGUAGE, PHONE];

#[tonic::async_trait]
impl ProfileService for Api {
    async fn update_profile(
        &self,
        request: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.describe(&caller, request.into_inner()).await?))
    }

    async fn set_picture(&self, request: Request<SetPictureRequest>) -> Result<Response<SetPictureResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.show_picture(&caller, request.into_inner()).await?))
    }

    async fn remove_picture(
        &self,
        request: Request<RemovePictureRequest>,
    ) -> Result<Response<RemovePictureResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.hide_picture(&caller, request.into_inner()).await?))
    }

    async fn get_picture(&self, request: Request<GetPictureRequest>) -> Result<Response<GetPictureResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.picture(&caller, request.get_ref()).await?))
    }
}

impl Api {
    async fn describe(&self, caller: &Caller, message: UpdateProfileRequest) -> Result<UpdateProfileResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let new = changes(&mut fields, &message.profile.clone().unwrap_or_default(), message.update_mask.as_ref());
        fields.finish()?;
        let once = Once::new(caller.account_id, &request_id, "UpdateProfile", &message).by(caller.user_id);
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = self.change_profile(tx, caller, now, |user| new.applied(user)).await?;
            Ok::<_, Error>(UpdateProfileResponse { user: Some(encode::user(&user)) })
        });
        Ok(answer.await?)
    }

    async fn show_picture(&self, caller: &Caller, mut message: SetPictureRequest) -> Result<SetPictureResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let once = Once::new(caller.account_id, &request_id, "SetPicture", &message).by(caller.user_id);
        let scaled = self.pictures.scale(mem::take(&mut message.content)).await?;
        if let Err(unfit) = scaled {
            fields.refuse("content", unfit.reason(), &[]);
        }
        fields.finish()?;
        let scaled = scaled.map_err(|_| Error::PictureNotFound)?;
        let (place, now) = (ids::new_id(), self.clock.now());
        // Whatever becomes of this call, also of one that dies, a worker looks afterwards whether anybody has the picture.
        let look = Job::new(caller.account_id, Effect::DropPicture { picture_id: place });
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        jobs::insert(&mut connection, &look, after(now, LONGEST_CALL), now).await?;
        drop(connection);
        // Before the row: what a row names is there.
        let blobs = self.pictures_of(caller.account_id, Some(place));
        let large = blobs.put(scaled.large).await.map_err(Error::Blob)?;
        let small = blobs.put(scaled.small).await.map_err(Error::Blob)?;
        let picture = Picture { large, small, place: Some(place) };
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = self.change_profile(tx, caller, now, |user| with_picture(user, Some(picture.clone()))).await?;
            Ok::<_, Error>(SetPictureResponse { user: Some(encode::user(&user)) })
        });
        let answer = answer.await?;
        // It goes now if he had it already, or if this was a retry. After a failure nobody knows yet whether its row comes.
        self.effects.run(&look).await;
        self.effects.wake();
        Ok(answer)
    }

    async fn hide_picture(
        &self,
        caller: &Caller,
        message: RemovePictureRequest,
    ) -> Result<RemovePictureResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields.finish()?;
        let once = Once::new(caller.account_id, &request_id, "RemovePicture", &message).by(caller.user_id);
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = self.change_profile(tx, caller, now, |user| with_picture(user, None)).await?;
            Ok::<_, Error>(RemovePictureResponse { user: Some(encode::user(&user)) })
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn picture(&self, caller: &Caller, message: &GetPictureRequest) -> Result<GetPictureResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.optional_uuid("user_id", &message.user_id).unwrap_or(caller.user_id);
        let size = PictureSize::try_from(message.size).unwrap_or_else(|_| {
            let names = [PictureSize::Large, PictureSize::Small].map(|size| size.as_str_name());
            fields.refuse("size", "FIELD_VALUE", &[("values", names.join(", "))]);
            PictureSize::Large
        });
        fields.finish()?;
        let picture = self.find(caller.account_id, id).await?.profile.picture.ok_or(Error::PictureNotFound)?;
        let file = if size == PictureSize::Small { &picture.small } else { &picture.large };
        if *file == message.known_etag {
            return Ok(GetPictureResponse { etag: file.clone(), content: Vec::new() });
        }
        let content = match self.pictures_of(caller.account_id, picture.place).get(file).await {
            // Replaced since the user was read.
            Err(error) if error.is_missing() => return Err(Error::PictureNotFound.into()),
            content => content.map_err(Error::Blob)?,
        };
        Ok(GetPictureResponse { etag: file.clone(), content: content.into() })
    }

    /// Where a picture is. Each has a place of its own, so that it can go without another one of the same content.
    fn pictures_of(&self, account: Uuid, place: Option<Uuid>) -> Blobs {
        let blobs = self.blobs.of(PICTURES).of(&account.to_string());
        place.map_or(blobs.clone(), |place| blobs.of(&place.to_string()))
    }

    /// Changes what the caller says of himself and tells the others; what stays as it was is not told.
    async fn change_profile(
        &self,
        tx: &mut PgConnection,
        caller: &Caller,
        now: Timestamp,
        change: impl FnOnce(&User) -> User,
    ) -> Result<User, Error> {
        let before = locked(tx, caller.account_id, caller.user_id).await?;
        let after = change(&before);
        if is_same(&before, &after) {
            return Ok(before);
        }
        let (had, has) =
            [&before, &after].map(|user| user.profile.picture.as_ref().and_then(|picture| picture.place)).into();
        if let Some(picture_id) = had.filter(|_| had != has) {
            self.effects.leave(tx, &Job::new(caller.account_id, Effect::DropPicture { picture_id })).await?;
        }
        let after = User { version: before.version + 1, ..after };
        profiles::update(tx, &after).await?;
        events::user_changed(tx, &after, now).await?;
        Ok(after)
    }
}

async fn locked(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<User, Error> {
    users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)
}

/// The content of a picture counts, not where it is kept.
fn is_same(before: &User, after: &User) -> bool {
    let said = |user: &User| {
        let Profile { first_name, last_name, phone, picture } = user.profile.clone();
        let picture = picture.map(|picture| (picture.large, picture.small));
        (first_name, last_name, phone, picture, user.name.clone(), user.language)
    };
    said(before) == said(after)
}

fn with_picture(user: &User, picture: Option<Picture>) -> User {
    User { profile: Profile { picture, ..user.profile.clone() }, ..user.clone() }
}

/// The new values of what is to be changed.
struct Changes {
    first_name: Option<String>,
    last_name: Option<String>,
    language: Option<Language>,
    #[expect(clippy::option_option, reason = "whether it is to be changed, and whether he has one afterwards")]
    phone: Option<Option<PhoneNumber>>,
}

impl Changes {
    fn applied(&self, user: &User) -> User {
        let profile = Profile {
            first_name: self.first_name.clone().unwrap_or_else(|| user.profile.first_name.clone()),
            last_name: self.last_name.clone().unwrap_or_else(|| user.profile.last_name.clone()),
            phone: self.phone.clone().unwrap_or_else(|| user.profile.phone.clone()),
            picture: user.profile.picture.clone(),
        };
        User {
            name: profile.full_name().unwrap_or_else(|| user.name.clone()),
            language: self.language.unwrap_or(user.language),
            profile,
            ..user.clone()
        }
    }
}

/// The new values of the fields that `mask` names; the others are not looked at.
fn changes(fields: &mut Fields, profile: &proto::Profile, mask: Option<&FieldMask>) -> Changes {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        fields.refuse("update_mask", "FIELD_REQUIRED", &[]);
    } else if !paths.iter().all(|path| CHANGEABLE.contains(&path.as_str())) {
        fields.refuse("update_mask", "FIELD_VALUE", &[("values", CHANGEABLE.join(", "))]);
    }
    let named = |field: &str| paths.iter().any(|path| path == field);
    Changes {
        first_name: named(FIRST_NAME).then(|| fields.line("profile.first_name", &profile.first_name, 1..=100)),
        last_name: named(LAST_NAME).then(|| fields.line("profile.last_name", &profile.last_name, 0..=99)),
        language: named(LANGUAGE).then(|| fields.language("profile.language", &profile.language)),
        phone: named(PHONE).then(|| fields::optional_phone_number(fields, "profile.phone", &profile.phone)),
    }
}
