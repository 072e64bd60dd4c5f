//! Accounts and users, and the way of a user between invitation, activity and deactivation.

use diwan_fault::Language;
use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::{AccountState, UserState},
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Profile;

/// One company.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id.
    pub id: Uuid,
    /// Name of the company.
    pub name: String,
    /// IANA time zone.
    pub time_zone: String,
    /// Default language.
    pub language: Language,
    /// Whether customers see the names of agents.
    pub show_agent_name: bool,
    /// Whether the owner's address is confirmed.
    pub email_confirmed: bool,
    /// Rises with every change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is being closed.
    pub state: AccountState,
    /// When it is closed for good, while it is closing.
    pub closes_at: Option<Timestamp>,
}

/// A member of an account.
#[derive(Clone, Debug)]
pub struct User {
    /// His id.
    pub id: Uuid,
    /// The account.
    pub account_id: Uuid,
    /// First and last name.
    pub name: String,
    /// E-mail address as it was entered.
    pub email: String,
    /// Role in the account.
    pub role: Role,
    /// Grants beside the role.
    pub grants: Vec<Grant>,
    /// Language.
    pub language: Language,
    /// Where he is between invitation and deactivation.
    pub state: UserState,
    /// Whether he has set a password: whether he ever accepted an invitation.
    pub has_password: bool,
    /// Tokens with a lower one are refused.
    pub epoch: i64,
    /// Rises with every change.
    pub version: i64,
    /// When he was added.
    pub created_at: Timestamp,
    /// What he says of himself.
    pub profile: Profile,
}

/// Why a user may not be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody deactivates the owner or changes his role.
    OwnerIsProtected,
    /// He would lock himself out, and only somebody else could let him in again.
    CannotDeactivateSelf,
    /// Only a deactivated user can be reactivated.
    UserNotDeactivated,
    /// The user has no open invitation.
    UserNotInvited,
    /// Nobody gives himself a role or a grant.
    CannotRaiseSelf,
    /// Only an active admin can become the owner.
    NotAnAdmin,
    /// Only the owner can hand the ownership over.
    NotTheOwner,
    /// The address is confirmed already.
    EmailConfirmed,
}

impl Refusal {
    /// Every one.
    #[cfg(test)]
    pub const ALL: [Self; 8] = [
        Self::OwnerIsProtected,
        Self::CannotDeactivateSelf,
        Self::UserNotDeactivated,
        Self::UserNotInvited,
        Self::CannotRaiseSelf,
        Self::NotAnAdmin,
        Self::NotTheOwner,
        Self::EmailConfirmed,
    ];

    /// As callers see it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::OwnerIsProtected => "OWNER_IS_PROTECTED",
            Self::CannotDeactivateSelf => "CANNOT_DEACTIVATE_SELF",
            Self::UserNotDeactivated => "USER_NOT_DEACTIVATED",
            Self::UserNotInvited => "USER_NOT_INVITED",
            Self::CannotRaiseSelf => "CANNOT_RAISE_SELF",
            Self::NotAnAdmin => "NOT_AN_ADMIN",
            Self::NotTheOwner => "NOT_THE_OWNER",
            Self::EmailConfirmed => "EMAIL_CONFIRMED",
        }
    }
}

/// What billing should say of a user's seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// He holds one.
    Kept,
    /// He holds one until then.
    Leased(Timestamp),
    /// He holds none.
    Free,
}

impl User {
    /// The user after `actor` has deactivated him; `None` when he is already. An invited user can be deactivated too: that
    /// withdraws the invitation.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn deactivated(&self, actor: Uuid) -> Result<Option<Self>, Refusal> {
        match self.state {
            _ if self.role == Role::Owner => Err(Refusal::OwnerIsProtected),
            _ if self.id == actor => Err(Refusal::CannotDeactivateSelf),
            UserState::Deactivated => Ok(None),
            _ => Ok(Some(Self { epoch: self.epoch + 1, ..self.changed(UserState::Deactivated) })),
        }
    }

    /// The user after his reactivation. Who never accepted an invitation has no password to sign in with and is invited anew.
    ///
    /// # Errors
    /// [`Refusal::UserNotDeactivated`].
    pub fn reactivated(&self) -> Result<Self, Refusal> {
        match self.state {
            UserState::Deactivated if self.has_password => Ok(self.changed(UserState::Active)),
            UserState::Deactivated => Ok(self.changed(UserState::Invited)),
            _ => Err(Refusal::UserNotDeactivated),
        }
    }

    /// The user after his invitation was withdrawn or has expired.
    ///
    /// # Errors
    /// [`Refusal::UserNotInvited`].
    pub fn uninvited(&self) -> Result<Self, Refusal> {
        self.require_invited()?;
        Ok(Self { epoch: self.epoch + 1, ..self.changed(UserState::Deactivated) })
    }

    /// The invited user at another address.
    ///
    /// # Errors
    /// [`Refusal::UserNotInvited`].
    pub fn readdressed(&self, email: &str) -> Result<Self, Refusal> {
        self.require_invited()?;
        Ok(Self { email: email.to_owned(), ..self.changed(UserState::Invited) })
    }

    /// Whether he has an invitation to accept.
    ///
    /// # Errors
    /// [`Refusal::UserNotInvited`].
    pub fn require_invited(&self) -> Result<(), Refusal> {
        if self.state == UserState::Invited { Ok(()) } else { Err(Refusal::UserNotInvited) }
    }

    /// The user after he has accepted an invitation.
    #[must_use]
    pub fn accepted(&self) -> Self {
        Self { has_password: true, ..self.changed(UserState::Active) }
    }

    fn changed(&self, state: UserState) -> Self {
        Self { state, version: self.version + 1, ..self.clone() }
    }
}

/// The form of an address that decides whether two are the same. The local part counts without regard to case too: RFC 5321
/// section 2.4 leaves that to the receiving host, and none in use tells `Ann@` from `ann@`.
pub fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// The id of the user whom a request invites: the same at every try, so that every try takes the same seat. A UUIDv8 (RFC
/// 9562 section 5.8) from a digest, which nobody outside can aim at another user since the account is part of it.
pub fn invited_user_id(account: Uuid, request_id: &str) -> Uuid {
    let digest = Sha256::new().chain_update("invite").chain_update(account).chain_update(request_id).finalize();
    uuid::Builder::from_custom_bytes(std::array::from_fn(|index| digest[index])).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(role: Role, state: UserState, has_password: bool) -> User {
        User {
            id: Uuid::from_u128(1),
            account_id: Uuid::from_u128(2),
            name: "Ann".into(),
            email: "ann@example.com".into(),
            role,
            grants: vec![],
            language: Language::En,
            state,
            has_password,
            epoch: 4,
            version: 7,
            created_at: Timestamp::UNIX_EPOCH,
            profile: Profile::default(),
        }
    }

    const ADMIN: Uuid = Uuid::from_u128(3);

    #[test]
    fn deactivation_spares_the_owner_and_oneself_and_happens_once() {
        let owner = user(Role::Owner, UserState::Active, true);
        assert_eq!(owner.deactivated(ADMIN).unwrap_err(), Refusal::OwnerIsProtected);
        assert_eq!(owner.deactivated(owner.id).unwrap_err(), Refusal::OwnerIsProtected);
        let admin = user(Role::Admin, UserState::Active, true);
        assert_eq!(admin.deactivated(admin.id).unwrap_err(), Refusal::CannotDeactivateSelf);
        let gone = admin.deactivated(ADMIN).unwrap().unwrap();
        assert_eq!((gone.state, gone.epoch, gone.version), (UserState::Deactivated, 5, 8));
        assert!(gone.deactivated(ADMIN).unwrap().is_none());
    }

    #[test]
    fn reactivation_needs_a_deactivated_user_and_invites_who_never_accepted() {
        for state in [UserState::Active, UserState::Invited] {
            assert_eq!(user(Role::User, state, true).reactivated().unwrap_err(), Refusal::UserNotDeactivated);
        }
        let states =
            [true, false].map(|has| user(Role::User, UserState::Deactivated, has).reactivated().unwrap().state);
        assert_eq!(states, [UserState::Active, UserState::Invited]);
    }

    #[test]
    fn the_id_of_an_invited_user_depends_on_account_and_request() {
        let id = invited_user_id(ADMIN, "a");
        assert_eq!(id, invited_user_id(ADMIN, "a"));
        assert_ne!(id, invited_user_id(ADMIN, "b"));
        assert_ne!(id, invited_user_id(Uuid::nil(), "a"));
        assert_eq!(id.get_version_num(), 8);
    }
}
