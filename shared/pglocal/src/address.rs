//! How a cluster is reached: URLs, connections, databases.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use url::Url;

use crate::error::Error;

/// Part of the socket's file name; there is no TCP port.
pub(crate) const PORT: u16 = 5432;
/// The superuser that a private cluster is made with.
pub(crate) const ROLE: &str = "diwan";

/// Where a cluster answers.
#[derive(Clone)]
pub struct Address(Url);

impl Address {
    /// A private cluster, by the folder of its socket.
    pub(crate) fn in_folder(sockets: &Path) -> Result<Self, Error> {
        let host: String = sockets.as_os_str().as_bytes().iter().copied().map(escape).collect();
        // Everything that `PG*` variables of the caller could change is written out.
        Self::parse(&format!("postgres://{ROLE}@{host}:{PORT}/postgres?sslmode=disable"))
    }

    /// Any cluster, by the URL of one of its databases.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let url = Url::parse(url).map_err(|_| Error::Url)?;
        if url.cannot_be_a_base() || !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(Error::Url);
        }
        Ok(Self(url))
    }

    /// The URL of a database, as sqlx and libpq (`psql`) read it.
    pub fn url(&self, database: &str) -> String {
        let mut url = self.0.clone();
        url.set_path(database);
        url.into()
    }

    /// The same as options for a connection or a pool of sqlx.
    pub fn connect_options(&self, database: &str) -> Result<PgConnectOptions, Error> {
        let refused = |source| Error::Sql { what: format!("the address of database {database}"), source };
        self.url(database).parse().map_err(refused)
    }

    /// Makes the database where it is missing. Several callers may do this at once.
    pub async fn ensure_database(&self, database: &str) -> Result<(), Error> {
        let refused = |source| Error::Sql { what: format!("to make database {database}"), source };
        let mut connection = self.connect("postgres").await?;
        let exists = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(database);
        if exists.fetch_optional(&mut connection).await.map_err(refused)?.is_none() {
            // From template0: a session that somebody has open in template1 would make this fail.
            let name = database.replace('"', "\"\"");
            let create = AssertSqlSafe(format!("CREATE DATABASE \"{name}\" TEMPLATE template0"));
            let made = sqlx::raw_sql(create).execute(&mut connection).await;
            made.map(drop).or_else(|error| if made_by_another(&error) { Ok(()) } else { Err(refused(error)) })?;
        }
        connection.close().await.map_err(refused)
    }

    /// Connects to a database.
    pub(crate) async fn connect(&self, database: &str) -> Result<PgConnection, Error> {
        let refused = |source| Error::Sql { what: format!("a connection to database {database}"), source };
        PgConnection::connect_with(&self.connect_options(database)?).await.map_err(refused)
    }
}

fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }
}

/// `duplicate_database`, or the unique index behind it when both statements ran at the same moment.
fn made_by_another(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == "42P04" || code == "23505")
}

impl fmt::Debug for Address {
    /// Without the password that a URL can hold.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Address").field("host", &self.0.host_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Address;

    #[test]
    fn any_folder_survives_the_way_into_a_url_and_out_of_it() {
        for folder in ["/tmp/diwan", "/home/a b/100%/ü+&?#:@/run", "/srv/diwan-1.0/run_x"] {
            let address = Address::in_folder(Path::new(folder)).unwrap();
            let options = address.connect_options("identity").unwrap();
            assert_eq!(options.get_socket().map(|path| path.to_str().unwrap()), Some(folder));
            assert_eq!((options.get_database(), options.get_port()), (Some("identity"), 5432));
            assert_eq!(options.get_username(), "diwan");
        }
    }

    #[test]
    fn a_foreign_server_keeps_its_credentials_and_hides_them_from_debug() {
        let address = Address::parse("postgresql://tester:s3cret@db.example:5433/postgres?sslmode=require").unwrap();
        assert_eq!(address.url("team"), "postgresql://tester:s3cret@db.example:5433/team?sslmode=require");
        assert!(!format!("{address:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_not_a_postgres_url_is_refused() {
        for url in ["", "localhost", "http://localhost/x", "postgres:x"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
