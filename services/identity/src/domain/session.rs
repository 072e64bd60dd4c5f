//! What a refresh token means to its session.

use super::token::{Token, same};

/// What a session remembers of its refresh tokens.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Of the half that they share.
    pub family: Vec<u8>,
    /// Of the newest one.
    pub current: Vec<u8>,
    /// Of the one that the newest was given for.
    pub previous: Option<Vec<u8>>,
}

/// What a refresh token is to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// The newest one: its use proves that it arrived, so its parent is no longer good.
    Newest,
    /// The parent of the newest one, which has not been used: its answer was lost on the way.
    Parent,
    /// One that was good once: somebody has a copy, and nobody can tell whose it is.
    Reused,
    /// Never one of this session's. Knowing a session's id must not be enough to end it.
    Foreign,
}

/// What `token` is to the session that remembers `remembered`.
pub fn presented(token: &Token, remembered: &Remembered) -> Presented {
    let single = token.single_hash();
    if !same(&token.family_hash(), &remembered.family) {
        Presented::Foreign
    } else if same(&single, &remembered.current) {
        Presented::Newest
    } else if remembered.previous.as_ref().is_some_and(|previous| same(&single, previous)) {
        Presented::Parent
    } else {
        Presented::Reused
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_the_newest_token_and_its_parent_are_good() {
        let first = Token::new(Uuid::nil(), Uuid::nil());
        let (second, third) = (first.successor(), first.successor());
        let remembered = Remembered {
            family: first.family_hash(),
            current: third.single_hash(),
            previous: Some(second.single_hash()),
        };
        assert_eq!(presented(&third, &remembered), Presented::Newest);
        assert_eq!(presented(&second, &remembered), Presented::Parent);
        assert_eq!(presented(&first, &remembered), Presented::Reused);
        assert_eq!(presented(&Token::new(Uuid::nil(), Uuid::nil()), &remembered), Presented::Foreign);
    }
}
