//! The environment that a process is configured by, read through a value so that a test can give its own.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, str::FromStr, time::Duration};

/// A setting that is missing or cannot be read. It names the variable and never its value, which may be secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvError {
    /// A variable that has no default is not set.
    #[error("{0} is not set")]
    Missing(String),
    /// A variable cannot be read as what it is for.
    #[error("{0} cannot be read: {1} expected")]
    Unreadable(String, &'static str),
}

/// The variables of one process.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The variables that this process was started with.
    pub fn of_process() -> Self {
        // One that is not UTF-8 is none of Diwan's; `vars` would panic at it.
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// `self` with one variable set.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The variable, unless it is not set or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variable, or an error that names it.
    pub fn require(&self, name: &str) -> Result<&str, EnvError> {
        self.get(name).ok_or_else(|| EnvError::Missing(name.to_owned()))
    }

    /// The variable read as `T`, or `default` when it is not set. `expected` says in an error what a value looks like.
    pub fn parse<T: FromStr>(&self, name: &str, expected: &'static str, default: T) -> Result<T, EnvError> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| EnvError::Unreadable(name.to_owned(), expected)),
        }
    }

    /// The variable as a number of milliseconds, or `default`.
    pub fn millis(&self, name: &str, default: Duration) -> Result<Duration, EnvError> {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        self.parse(name, "a number of milliseconds", default).map(Duration::from_millis)
    }

    /// The variable as a path, or `default`.
    pub fn path(&self, name: &str, default: impl Into<PathBuf>) -> PathBuf {
        self.get(name).map_or_else(|| default.into(), PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_variable_is_named_without_its_value() {
        let error = Env::default().with("DIWAN_PORT", "s3cret").parse("DIWAN_PORT", "a port", 1_u16).unwrap_err();
        assert_eq!(error.to_string(), "DIWAN_PORT cannot be read: a port expected");
    }
}
