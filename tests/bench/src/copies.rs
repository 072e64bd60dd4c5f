//! People in great numbers: copies of one who was invited and has accepted, made by SQL, because each password costs a twentieth of a
//! second. They have his password.

use diwan_e2e::{Failure, door::Person};
use sqlx::AssertSqlSafe;

use crate::cast::Scene;

/// A copy's id, as an entry of its row.
pub(crate) const ID: &str = "'id', md5('agent ' || place)::uuid";
/// The same in rows of what he has.
pub(crate) const USER: &str = "'user_id', md5('agent ' || place)::uuid";
/// Which rows he has.
pub(crate) const AGENT: &str = "user_id = '{agent}'";

/// The address of a copy, counted from one.
pub(crate) fn email(place: usize) -> String {
    format!("{place}@copies.example")
}

/// Copies to be made of one agent.
pub(crate) struct Copies {
    account: String,
    agent: String,
    many: usize,
}

impl Copies {
    /// So many of the one agent that the account of `owner` has.
    pub(crate) async fn of_the_agent(scene: &Scene, owner: &Person, many: usize) -> Result<Self, Failure> {
        let account = owner.user.account_id.clone();
        let mut database = scene.database("identity").await?;
        let agent =
            sqlx::query_scalar("select id::text from users where account_id = $1::uuid and role = 'ROLE_USER' limit 1");
        let agent = agent.bind(&account).fetch_one(&mut database).await?;
        Ok(Self { account, agent, many })
    }

    /// Makes what a copy needs to sign in.
    pub(crate) async fn sign_in(&self, scene: &Scene) -> Result<(), Failure> {
        let users = self.made("users", "id = '{agent}'", &format!("{ID}, 'email', place || '@copies.example'"));
        let addresses = format!(
            "insert into email_addresses (email_key, account_id, user_id)
             select place || '@copies.example', '{{account}}', md5('agent ' || place)::uuid from generate_series(1, {}) place",
            self.many
        );
        self.put(scene, "identity", &[users, addresses]).await
    }

    /// Copies one row of a table with these changes; where they speak of `teams`, each to another one.
    pub(crate) fn made(&self, table: &str, of: &str, changes: &str) -> String {
        let teams = if changes.contains("teams.id") {
            "join (select id, row_number() over (order by id) - 1 as number from teams where account_id = '{account}') as teams
                 on teams.number = place % 10000"
        } else {
            ""
        };
        format!(
            "insert into {table} select copy.*
             from (select * from {table} where account_id = '{{account}}' and {of} limit 1) as original
             cross join generate_series(1, {}) as place {teams}
             cross join lateral jsonb_populate_record(null::{table}, to_jsonb(original) || jsonb_build_object({changes})) as copy",
            self.many
        )
    }

    /// Has the database of a service do this, about this agent.
    pub(crate) async fn put(&self, scene: &Scene, service: &str, statements: &[String]) -> Result<(), Failure> {
        let mut database = scene.database(service).await?;
        for statement in statements {
            let statement = statement.replace("{account}", &self.account).replace("{agent}", &self.agent);
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut database).await?;
        }
        sqlx::raw_sql("vacuum analyze").execute(&mut database).await?;
        Ok(())
    }
}
