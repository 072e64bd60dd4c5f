//! What a person says of himself.

use uuid::Uuid;

use super::PhoneNumber;

/// Names, telephone number and picture of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// First name; empty until he has set it himself.
    pub first_name: String,
    /// Last name; may stay empty.
    pub last_name: String,
    /// How colleagues reach him. Nobody has confirmed it, so nothing that proves who he is may go there.
    pub phone: Option<PhoneNumber>,
    /// His picture.
    pub picture: Option<Picture>,
}

/// A picture in two sizes, each the SHA-256 under which its JPEG file is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The large one. Also names the picture: another content has another.
    pub large: String,
    /// The small one.
    pub small: String,
    /// The part of the blob store that this picture has for itself; `None`: earlier versions kept it beside all others.
    pub place: Option<Uuid>,
}

impl Profile {
    /// How others see him, once he has set a name.
    pub fn full_name(&self) -> Option<String> {
        let names = [self.first_name.as_str(), self.last_name.as_str()];
        let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
        (!self.first_name.is_empty()).then(|| names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_needs_a_first_name_and_no_last_one() {
        let named = |first: &str, last: &str| Profile {
            first_name: first.into(),
            last_name: last.into(),
            ..Profile::default()
        };
        assert_eq!(named("Ann", "Lee").full_name().as_deref(), Some("Ann Lee"));
        assert_eq!(named("Ann", "").full_name().as_deref(), Some("Ann"));
        assert_eq!(named("", "Lee").full_name(), None);
    }
}
