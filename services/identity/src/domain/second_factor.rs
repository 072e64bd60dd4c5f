//! What a user has beside his password, and how it changes.

use diwan_proto::identity::v1::Factor;
use jiff::Timestamp;

/// An authenticator that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticator {
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// The last step whose code was taken.
    pub last_step: i64,
}

/// An authenticator that is to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// Until when.
    pub until: Timestamp,
}

/// What a user has beside his password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecondFactors {
    /// His authenticator.
    pub totp: Option<Authenticator>,
    /// One that is to be confirmed.
    pub pending: Option<Pending>,
    /// Whether codes to his WhatsApp number are a factor.
    pub whatsapp: bool,
    /// How many recovery codes are left.
    pub recovery_codes: i32,
    /// Rises with every change.
    pub version: i64,
}

/// Why a second factor does not do what somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorRefusal {
    /// A code with which somebody proves himself is not good.
    CodeRefused,
    /// A code that answers a challenge is not good.
    AnswerRefused,
    /// The challenge is not open, or was never one.
    ChallengeRefused,
    /// No authenticator waits to be confirmed.
    EnrolmentNotFound,
    /// The challenge does not admit this.
    NotAvailable,
    /// It would leave the user without a factor while the account demands one.
    Demanded,
    /// The user has no factor.
    Missing,
    /// One's own factors are not reset but taken away, with proof.
    Own,
    /// The user has no confirmed number.
    NumberMissing,
    /// The user has a confirmed number, and it is another one.
    NumberIsAnother,
    /// The user trusts no such device.
    DeviceNotFound,
    /// No recovery of the user's factors goes on.
    RecoveryNotFound,
    /// The user whose factors are to be recovered has none.
    NothingToRecover,
}

impl FactorRefusal {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 13] = [
        Self::CodeRefused,
        Self::AnswerRefused,
        Self::ChallengeRefused,
        Self::EnrolmentNotFound,
        Self::NotAvailable,
        Self::Demanded,
        Self::Missing,
        Self::Own,
        Self::NumberMissing,
        Self::NumberIsAnother,
        Self::DeviceNotFound,
        Self::RecoveryNotFound,
        Self::NothingToRecover,
    ];

    /// As callers see it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::CodeRefused | Self::AnswerRefused => "CODE_REFUSED",
            Self::ChallengeRefused => "CHALLENGE_REFUSED",
            Self::EnrolmentNotFound => "ENROLMENT_NOT_FOUND",
            Self::NotAvailable => "FACTOR_NOT_AVAILABLE",
            Self::Demanded => "SECOND_FACTOR_DEMANDED",
            Self::Missing => "SECOND_FACTOR_MISSING",
            Self::Own => "CANNOT_RESET_OWN_FACTORS",
            Self::NumberMissing => "WHATSAPP_NUMBER_MISSING",
            Self::NumberIsAnother => "WHATSAPP_NUMBER_IS_ANOTHER",
            Self::DeviceNotFound => "DEVICE_NOT_FOUND",
            Self::RecoveryNotFound => "FACTOR_RECOVERY_NOT_FOUND",
            Self::NothingToRecover => "NO_FACTOR_TO_RECOVER",
        }
    }
}

impl SecondFactors {
    /// Whether he is asked for one when he signs in.
    pub fn any(&self) -> bool {
        self.totp.is_some() || self.whatsapp
    }

    /// What he can prove himself with. Recovery codes stand in for a factor: alone they are none.
    pub fn factors(&self) -> Vec<Factor> {
        let all = [
            (Factor::Totp, self.totp.is_some()),
            (Factor::Whatsapp, self.whatsapp),
            (Factor::RecoveryCode, self.any() && self.recovery_codes > 0),
        ];
        all.into_iter().filter_map(|(factor, has)| has.then_some(factor)).collect()
    }

    /// With the authenticator that was to be confirmed, one of whose codes was just taken at `step`; `None` if there is none that
    /// can be confirmed at `now`.
    pub fn confirmed(&self, step: i64, now: Timestamp) -> Option<Self> {
        let pending = self.pending_at(now)?;
        let totp = Authenticator { sealed: pending.sealed.clone(), last_step: step };
        Some(Self { totp: Some(totp), pending: None, ..self.changed() })
    }

    /// The authenticator that can be confirmed at `now`.
    pub fn pending_at(&self, now: Timestamp) -> Option<&Pending> {
        self.pending.as_ref().filter(|pending| pending.until > now)
    }

    /// With codes to his WhatsApp number.
    #[must_use]
    pub fn with_whatsapp(&self) -> Self {
        Self { whatsapp: true, ..self.changed() }
    }

    /// Without an authenticator.
    ///
    /// # Errors
    /// [`FactorRefusal::Demanded`].
    pub fn without_totp(&self, demanded: bool) -> Result<Self, FactorRefusal> {
        Self { totp: None, ..self.changed() }.if_enough(demanded)
    }

    /// Without codes to his WhatsApp number.
    ///
    /// # Errors
    /// [`FactorRefusal::Demanded`].
    pub fn without_whatsapp(&self, demanded: bool) -> Result<Self, FactorRefusal> {
        Self { whatsapp: false, ..self.changed() }.if_enough(demanded)
    }

    /// Without anything.
    #[must_use]
    pub fn without_all(&self) -> Self {
        Self { version: self.version + 1, ..Self::default() }
    }

    fn if_enough(self, demanded: bool) -> Result<Self, FactorRefusal> {
        match self.any() {
            true => Ok(self),
            false if demanded => Err(FactorRefusal::Demanded),
            false => Ok(Self { version: self.version, ..Self::default() }),
        }
    }

    fn changed(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> SecondFactors {
        SecondFactors {
            totp: Some(Authenticator { sealed: vec![1], last_step: 7 }),
            whatsapp: true,
            recovery_codes: 10,
            version: 3,
            ..SecondFactors::default()
        }
    }

    #[test]
    fn the_last_factor_takes_the_recovery_codes_along_unless_the_account_demands_one() {
        let whatsapp = both().without_totp(true).unwrap();
        assert_eq!(whatsapp.factors(), [Factor::Whatsapp, Factor::RecoveryCode]);
        assert_eq!(whatsapp.without_whatsapp(true), Err(FactorRefusal::Demanded));
        let none = whatsapp.without_whatsapp(false).unwrap();
        assert_eq!(none, SecondFactors { version: 5, ..SecondFactors::default() });
        assert!(none.factors().is_empty());
    }

    #[test]
    fn recovery_codes_alone_are_no_factor() {
        let codes = SecondFactors { recovery_codes: 10, ..SecondFactors::default() };
        assert!(!codes.any() && codes.factors().is_empty());
    }

    #[test]
    fn an_authenticator_is_confirmed_in_time_only_and_the_code_that_did_it_counts_as_used() {
        let until = Timestamp::from_second(100).unwrap();
        let factors = SecondFactors { pending: Some(Pending { sealed: vec![2], until }), ..both() };
        assert_eq!(factors.confirmed(9, until), None);
        let confirmed = factors.confirmed(9, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(confirmed.totp, Some(Authenticator { sealed: vec![2], last_step: 9 }));
        assert_eq!((confirmed.pending, confirmed.version), (None, 4));
    }
}
