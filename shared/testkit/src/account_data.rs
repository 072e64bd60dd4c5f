//! Whether a service's declaration of what it keeps of an account is complete, shows no secret, and is deleted as a whole: held against
//! the schema, with rows in every table, so that a table or a column that somebody adds later fails until it is decided upon.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use diwan_account_data::{
    Data, Table,
    deletion::{Deletions, note},
    export::Exporter,
};
use diwan_runtime::{Clock as _, MockClock, ids};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgPool, migrate::Migrator};
use uuid::Uuid;

use crate::TestDatabase;

/// More than a page of an export and than a chunk of a deletion has.
const ROWS: i64 = 1100;

/// A migrated database, and what is said of it.
pub struct Declared {
    database: TestDatabase,
    data: &'static Data,
}

#[derive(sqlx::FromRow)]
struct Column {
    #[sqlx(rename = "table_name")]
    table: String,
    #[sqlx(rename = "column_name")]
    name: String,
    #[sqlx(rename = "udt_name")]
    kind: String,
    filled: bool,
}

impl Declared {
    /// With empty tables.
    pub async fn new(migrations: &Migrator, data: &'static Data) -> Self {
        Self { database: TestDatabase::new(migrations).await, data }
    }

    fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    async fn columns(&self) -> BTreeMap<String, Vec<Column>> {
        let columns: Vec<Column> = sqlx::query_as(
            "select table_name::text, column_name::text, udt_name::text,
                    is_generated = 'ALWAYS' or is_identity = 'YES' or udt_name = 'xid8' as filled
             from information_schema.columns
             where table_schema = 'public' and table_name <> '_sqlx_migrations' order by table_name, ordinal_position",
        )
        .fetch_all(self.pool())
        .await
        .expect("the columns");
        let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
        for column in columns {
            tables.entry(column.table.clone()).or_default().push(column);
        }
        tables
    }

    /// Every table is declared; every column of one that is exported is shown or withheld, and the others show none; what refers to a
    /// table is deleted before it.
    pub async fn is_complete(&self) {
        let columns = self.columns().await;
        let mut wrong = Vec::new();
        let declared: BTreeSet<_> =
            self.data.tables.iter().map(|table| table.name).chain(self.data.others.iter().copied()).collect();
        let there: BTreeSet<_> = columns.keys().map(String::as_str).collect();
        wrong.extend(there.difference(&declared).map(|table| format!("{table} is not declared")));
        wrong.extend(declared.difference(&there).map(|table| format!("{table} is no table")));
        for table in self.data.tables.iter().filter(|table| !table.shown.is_empty()) {
            let decided: Vec<_> = table.shown.iter().chain(table.withheld).copied().collect();
            let names: Vec<_> = columns.get(table.name).into_iter().flatten().map(|column| &*column.name).collect();
            wrong.extend(
                names
                    .iter()
                    .filter(|name| !decided.contains(name))
                    .map(|name| format!("{}.{name}: shown or withheld?", table.name)),
            );
            wrong.extend(
                decided
                    .iter()
                    .filter(|name| !names.contains(name))
                    .map(|name| format!("{}.{name} is no column", table.name)),
            );
            if decided.iter().collect::<BTreeSet<_>>().len() < decided.len() {
                wrong.push(format!("{}: a column stands there twice", table.name));
            }
        }
        for table in self.data.others {
            let has_account = columns.get(*table).into_iter().flatten().any(|column| column.name == "account_id");
            wrong.extend(has_account.then(|| format!("{table} has rows of accounts")));
        }
        wrong.extend(self.misplaced().await);
        assert!(
            wrong.is_empty(),
            "what is kept of an account is declared in the service's data.rs:\n{}",
            wrong.join("\n")
        );
    }

    /// Tables that are deleted before, or together with, what refers to them.
    async fn misplaced(&self) -> Vec<String> {
        let references: Vec<(String, String)> = sqlx::query_as(
            "select conrelid::regclass::text, confrelid::regclass::text from pg_constraint where contype = 'f'",
        )
        .fetch_all(self.pool())
        .await
        .expect("the foreign keys");
        let place = |name: &str| self.data.tables.iter().position(|table| table.name == name);
        let at_once = |name: &str| self.data.tables.iter().any(|table| table.name == name && table.at_once);
        let right = |from: &str, to: &str| if from == to { at_once(from) } else { place(from) < place(to) };
        let wrong = references.iter().filter(|(from, to)| !right(from, to));
        wrong.map(|(from, to)| format!("{from} refers to {to}: delete it before, or at once")).collect()
    }

    /// Rows of `account` in every table, whose texts name their column and, with a number, their row. Constraints are gone afterwards.
    async fn fill(&self, account: Uuid) {
        self.drop_constraints().await;
        let columns = self.columns().await;
        let mut connection = self.pool().acquire().await.expect("a connection");
        // Rows refer to nothing here.
        sqlx::raw_sql("set session_replication_role = replica").execute(&mut *connection).await.expect("a superuser");
        for table in self.data.tables {
            let of_table = columns.get(table.name).expect("a declared table");
            let filled: Vec<_> = of_table.iter().filter(|column| !column.filled).collect();
            let names: Vec<_> = filled.iter().map(|column| column.name.as_str()).collect();
            let values: Vec<_> = filled.iter().map(|column| value(column, table, account)).collect();
            let rows = if table.key.is_empty() { 1 } else { ROWS };
            let insert = format!(
                "insert into {} ({}) select {} from generate_series(1, {rows}) n",
                table.name,
                names.join(", "),
                values.join(", ")
            );
            let inserted = sqlx::raw_sql(AssertSqlSafe(insert.clone())).execute(&mut *connection).await;
            inserted.unwrap_or_else(|error| panic!("{insert}: {error}"));
        }
        sqlx::raw_sql("set session_replication_role = origin").execute(&mut *connection).await.expect("a superuser");
    }

    async fn drop_constraints(&self) {
        let drops: Vec<String> = sqlx::query_scalar(
            "select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint
             where contype in ('c', 'u', 'f') and conrelid <> 0 and connamespace = 'public'::regnamespace
             union all
             select format('drop index %s', i.indexrelid::regclass) from pg_index i
             join pg_class c on c.oid = i.indexrelid and c.relnamespace = 'public'::regnamespace
             where indisunique and not exists (select from pg_constraint where conindid = i.indexrelid)",
        )
        .fetch_all(self.pool())
        .await
        .expect("the constraints");
        for drop in drops {
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(self.pool()).await.expect("a constraint goes");
        }
    }

    /// An export has each row of each table once, with what is shown and nothing that is withheld, and only of its account.
    pub async fn exports_every_row_and_no_secret(&self) {
        let (account, other) = (ids::new_id(), ids::new_id());
        self.fill(account).await;
        self.fill(other).await;
        let files = self.export(account).await;
        let columns = self.columns().await;
        // A table may be declared once more by another column with an account's id.
        for table in self.data.tables.iter().filter(|table| table.account == "account_id") {
            let file = files.get(&format!("{}.jsonl", table.name));
            assert_eq!(file.is_some(), !table.shown.is_empty(), "{}", table.name);
            let Some(file) = file else { continue };
            let lines: BTreeSet<_> = file.lines().collect();
            let rows = if table.key.is_empty() { 1 } else { ROWS };
            assert_eq!(
                (file.lines().count(), i64::try_from(lines.len())),
                (lines.len(), Ok(rows)),
                "{}: each row once",
                table.name
            );
            for column in columns.get(table.name).into_iter().flatten() {
                let is_text = matches!(column.kind.as_str(), "text" | "_text" | "jsonb") && !column.filled;
                if is_text && table.shown.contains(&&*column.name) {
                    assert!(file.contains(&mark(column)), "{} is shown", mark(column));
                }
            }
        }
        let everything: String = files.into_values().collect();
        assert!(!everything.contains(&other.to_string()), "another account's rows");
        for column in columns.into_values().flatten() {
            let table = self.data.tables.iter().find(|table| table.name == column.table);
            if table.is_some_and(|table| !table.shown.contains(&&*column.name)) {
                let hexadecimal = hex::encode(mark(&column));
                assert!(
                    !everything.contains(&mark(&column)) && !everything.contains(&hexadecimal),
                    "{}",
                    mark(&column)
                );
            }
        }
    }

    async fn export(&self, account: Uuid) -> BTreeMap<String, String> {
        let exporter = Exporter { pool: self.pool(), blobs: None, data: self.data, account };
        let (mut files, mut from) = (BTreeMap::new(), None);
        loop {
            let (pieces, next) = exporter.page(from).await.expect("a page");
            for piece in pieces {
                let text = String::from_utf8(piece.content).expect("JSON");
                assert_eq!(i64::try_from(text.lines().count()), Ok(piece.rows));
                files.entry(piece.file).or_insert_with(String::new).push_str(&text);
            }
            let Some(next) = next else { return files };
            from = diwan_account_data::export::Cursor::decode(self.data, &next.encode());
            assert_eq!(from.as_ref(), Some(&next));
        }
    }

    /// After a deletion no row says the account's id anywhere, but in the tables `kept`, and another account has all of its rows.
    pub async fn deletes_everything_but(&self, kept: &[&str]) {
        let (account, other) = (ids::new_id(), ids::new_id());
        self.fill(account).await;
        self.fill(other).await;
        let before = self.mentions(other).await;
        let clock = MockClock::at(Timestamp::UNIX_EPOCH);
        note(&mut self.pool().acquire().await.expect("a connection"), account, clock.now()).await.expect("a note");
        let deletions =
            Deletions { pool: self.pool().clone(), blobs: None, data: self.data, clock: Arc::new(clock.clone()) };
        assert!(deletions.delete(account).await.expect("a deletion") > 0);
        let left: Vec<_> = self.mentions(account).await.into_iter().filter(|(_, rows)| *rows > 0).collect();
        let left: Vec<_> = left.iter().map(|(table, _)| table.as_str()).collect();
        assert_eq!(left, kept, "what is left of a deleted account");
        assert_eq!(self.mentions(other).await, before, "another account loses nothing");
        assert_eq!(deletions.delete(account).await.expect("once more"), 0);
    }

    /// How many rows of each table say the id, in whatever column.
    async fn mentions(&self, account: Uuid) -> BTreeMap<String, i64> {
        let mut mentions = BTreeMap::new();
        for table in self.columns().await.into_keys() {
            let count = format!("select count(*) from {table} t where t::text like '%{account}%'");
            let rows = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(self.pool()).await.expect("a count");
            mentions.insert(table, rows);
        }
        mentions
    }
}

/// What a column's values begin with.
fn mark(column: &Column) -> String {
    format!("{}.{}#", column.table, column.name)
}

/// An SQL expression over `n`.
fn value(column: &Column, table: &Table, account: Uuid) -> String {
    if column.name == table.account {
        return format!("'{account}'");
    }
    let text = format!("'{}{}-' || n", mark(column), account.simple());
    match column.kind.as_str() {
        "uuid" => "gen_random_uuid()".into(),
        "_uuid" => "array[gen_random_uuid()]".into(),
        "text" => text,
        "_text" => format!("array[{text}]"),
        "bytea" => format!("convert_to({text}, 'UTF8')"),
        "_bytea" => format!("array[convert_to({text}, 'UTF8')]"),
        "jsonb" => format!("jsonb_build_object('kind', 'x', {text}, n)"),
        "int2" | "int4" | "int8" | "numeric" => "n".into(),
        "bool" => "false".into(),
        "timestamptz" => "now()".into(),
        "date" => "current_date".into(),
        "inet" => "'192.0.2.1'".into(),
        other => panic!("say how {}.{} of type {other} is filled", column.table, column.name),
    }
}
