//! Who may get which role and which grants.

use diwan_proto::{
    access::v1::{Grant, Role},
    identity::v1::UserState,
};
use uuid::Uuid;

use super::user::{Refusal, User};

impl User {
    /// The user after `actor` has given him a role and grants; `None` when he has just these. His epoch rises, since tokens
    /// carry role and grants.
    ///
    /// # Errors
    /// [`Refusal::OwnerIsProtected`], [`Refusal::CannotRaiseSelf`].
    pub fn with_role(&self, actor: Uuid, role: Role, grants: &[Grant]) -> Result<Option<Self>, Refusal> {
        if self.role == Role::Owner {
            return Err(Refusal::OwnerIsProtected);
        }
        // Numbers of roles fall as the roles rise.
        let is_raised =
            i32::from(role) < i32::from(self.role) || grants.iter().any(|grant| !self.grants.contains(grant));
        if self.id == actor && is_raised {
            return Err(Refusal::CannotRaiseSelf);
        }
        let is_same = role == self.role && grants == self.grants;
        Ok((!is_same).then(|| self.in_role(role, grants.to_vec())))
    }

    /// Whether he may be offered the ownership by `owner`, and accept it.
    ///
    /// # Errors
    /// [`Refusal::NotTheOwner`], [`Refusal::NotAnAdmin`].
    pub fn may_inherit(&self, owner: &Self) -> Result<(), Refusal> {
        match (owner.role, self.role, self.state) {
            (Role::Owner, Role::Admin, UserState::Active) => Ok(()),
            (Role::Owner, ..) => Err(Refusal::NotAnAdmin),
            _ => Err(Refusal::NotTheOwner),
        }
    }

    fn in_role(&self, role: Role, grants: Vec<Grant>) -> Self {
        Self { role, grants, epoch: self.epoch + 1, version: self.version + 1, ..self.clone() }
    }
}

/// Owner and admin after the ownership has gone from one to the other. The former owner gets no grants: the new one decides.
///
/// # Errors
/// See [`User::may_inherit`].
pub fn handed_over(owner: &User, admin: &User) -> Result<(User, User), Refusal> {
    admin.may_inherit(owner)?;
    Ok((owner.in_role(Role::Admin, Vec::new()), admin.in_role(Role::Owner, Vec::new())))
}

#[cfg(test)]
mod tests {
    use diwan_fault::Language;
    use jiff::Timestamp;

    use super::*;

    fn user(id: u128, role: Role, grants: &[Grant], state: UserState) -> User {
        User {
            id: Uuid::from_u128(id),
            account_id: Uuid::nil(),
            name: "Ann".into(),
            email: "ann@example.com".into(),
            role,
            grants: grants.to_vec(),
            language: Language::En,
            state,
            has_password: true,
            epoch: 4,
            version: 7,
            created_at: Timestamp::UNIX_EPOCH,
            profile: crate::domain::Profile::default(),
        }
    }

    const OTHER: Uuid = Uuid::from_u128(9);

    #[test]
    fn nobody_changes_the_owner_and_nobody_raises_himself() {
        let owner = user(1, Role::Owner, &[], UserState::Active);
        for actor in [owner.id, OTHER] {
            assert_eq!(owner.with_role(actor, Role::Admin, &[]).unwrap_err(), Refusal::OwnerIsProtected);
        }
        let admin = user(2, Role::Admin, &[Grant::Campaigns], UserState::Active);
        let billing = [Grant::Campaigns, Grant::SubscriptionManagement];
        assert_eq!(admin.with_role(admin.id, Role::Admin, &billing).unwrap_err(), Refusal::CannotRaiseSelf);
        assert_eq!(admin.with_role(OTHER, Role::Admin, &billing).unwrap().unwrap().grants, billing);
        let lowered = admin.with_role(admin.id, Role::User, &[]).unwrap().unwrap();
        assert_eq!((lowered.role, lowered.epoch, lowered.version), (Role::User, 5, 8));
        // With the token of the role that he has just lost.
        assert_eq!(lowered.with_role(lowered.id, Role::Admin, &[]).unwrap_err(), Refusal::CannotRaiseSelf);
        assert!(admin.with_role(OTHER, Role::Admin, &[Grant::Campaigns]).unwrap().is_none());
    }

    #[test]
    fn the_ownership_goes_from_the_owner_to_an_active_admin_and_to_nobody_else() {
        let owner = user(1, Role::Owner, &[], UserState::Active);
        let admin = user(2, Role::Admin, &[Grant::Campaigns], UserState::Active);
        let (former, new) = handed_over(&owner, &admin).unwrap();
        assert_eq!((former.id, former.role, former.epoch), (owner.id, Role::Admin, 5));
        assert_eq!((new.id, new.role, new.epoch), (admin.id, Role::Owner, 5));
        assert_eq!(handed_over(&former, &new).unwrap_err(), Refusal::NotTheOwner);
        assert_eq!(handed_over(&owner, &owner).unwrap_err(), Refusal::NotAnAdmin);
        for state in [UserState::Invited, UserState::Deactivated] {
            let away = user(3, Role::Admin, &[], state);
            assert_eq!(handed_over(&owner, &away).unwrap_err(), Refusal::NotAnAdmin);
        }
        let agent = user(3, Role::User, &[], UserState::Active);
        assert_eq!(handed_over(&owner, &agent).unwrap_err(), Refusal::NotAnAdmin);
    }
}
