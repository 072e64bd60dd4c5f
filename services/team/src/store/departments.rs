//! Departments and who belongs to them.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::domain::Department;

/// The unique index of names right below one department.
pub(crate) const NAME_INDEX: &str = "departments_name";

struct Row {
    id: Uuid,
    name: String,
    parent_id: Option<Uuid>,
    head_id: Uuid,
    version: i64,
}

impl From<Row> for Department {
    fn from(row: Row) -> Self {
        Self { id: row.id, name: row.name, parent: row.parent_id, head: row.head_id, version: row.version }
    }
}

/// Holds the shape of an account's departments: whoever else changes it waits for the end of the transaction.
pub(crate) async fn lock_tree(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    sqlx::query!("insert into department_trees (account_id) values ($1) on conflict do nothing", account)
        .execute(&mut *tx)
        .instrument(span("insert department tree"))
        .await?;
    sqlx::query!("select from department_trees where account_id = $1 for update", account)
        .fetch_one(tx)
        .instrument(span("lock department tree"))
        .await?;
    Ok(())
}

/// Writes a new department, or one that is found, as it is now.
pub(crate) async fn save(tx: &mut PgConnection, account: Uuid, department: &Department) -> Result<(), Error> {
    sqlx::query!(
        "insert into departments (account_id, id, name, name_key, parent_id, head_id, version)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (account_id, id) do update
         set name = excluded.name, name_key = excluded.name_key, parent_id = excluded.parent_id,
             head_id = excluded.head_id, version = excluded.version",
        account,
        department.id,
        department.name,
        department.name_key(),
        department.parent,
        department.head,
        department.version,
    )
    .execute(tx)
    .instrument(span("save department"))
    .await?;
    Ok(())
}

/// Removes a department that nobody belongs to and that none is below.
pub(crate) async fn remove(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<(), Error> {
    sqlx::query!("delete from departments where account_id = $1 and id = $2", account, id)
        .execute(tx)
        .instrument(span("remove department"))
        .await?;
    Ok(())
}

/// One department.
pub(crate) async fn find(connection: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Option<Department>, Error> {
    let found = sqlx::query_as!(
        Row,
        "select id, name, parent_id, head_id, version from departments where account_id = $1 and id = $2",
        account,
        id,
    )
    .fetch_optional(connection)
    .instrument(span("find department"))
    .await?;
    Ok(found.map(Department::from))
}

/// The departments on the way from `id` to the top, itself first.
pub(crate) async fn way_up(connection: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Vec<Uuid>, Error> {
    let way = sqlx::query_scalar!(
        r#"with recursive way as (
               select id, parent_id, 0 as step from departments where account_id = $1 and id = $2
               union all
               select above.id, above.parent_id, step + 1
               from way join departments as above on above.account_id = $1 and above.id = way.parent_id
           )
           select id as "id!" from way order by step"#,
        account,
        id,
    )
    .fetch_all(connection)
    .instrument(span("find way up"))
    .await?;
    Ok(way)
}

/// How many departments lie one below the other from `id` down, itself included.
pub(crate) async fn height(connection: &mut PgConnection, account: Uuid, id: Uuid) -> Result<usize, Error> {
    let deepest = sqlx::query_scalar!(
        r#"with recursive below as (
               select id, 1 as step from departments where account_id = $1 and id = $2
               union all
               select under.id, step + 1
               from below join departments as under on under.account_id = $1 and under.parent_id = below.id
           )
           select coalesce(max(step), 0) as "deepest!" from below"#,
        account,
        id,
    )
    .fetch_one(connection)
    .instrument(span("find height"))
    .await?;
    Ok(usize::try_from(deepest).unwrap_or_default())
}

/// Whether nobody belongs to a department and none is below it.
pub(crate) async fn is_empty(connection: &mut PgConnection, account: Uuid, id: Uuid) -> Result<bool, Error> {
    let used = sqlx::query_scalar!(
        r#"select exists (select from departments where account_id = $1 and parent_id = $2)
               or exists (select from department_members where account_id = $1 and department_id = $2) as "used!""#,
        account,
        id,
    )
    .fetch_one(connection)
    .instrument(span("look into department"))
    .await?;
    Ok(!used)
}

/// Departments by name, after the one of `after`.
pub(crate) async fn list(
    connection: &mut PgConnection,
    account: Uuid,
    after: Option<(String, Uuid)>,
    limit: i64,
) -> Result<Vec<Department>, Error> {
    let (name, id) = after.unzip();
    let rows = sqlx::query_as!(
        Row,
        "select id, name, parent_id, head_id, version from departments
         where account_id = $1 and ($2::text is null or (name_key, id) > ($2, $3::uuid))
         order by name_key, id limit $4",
        account,
        name,
        id,
        limit,
    )
    .fetch_all(connection)
    .instrument(span("list departments"))
    .await?;
    Ok(rows.into_iter().map(Department::from).collect())
}

/// Puts a known user into a department, or out of his; the version of that, `None` where he was there already.
pub(crate) async fn assign(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    department: Option<Uuid>,
) -> Result<Option<i64>, Error> {
    let version = sqlx::query_scalar!(
        "insert into department_members as known (account_id, user_id, department_id, version) values ($1, $2, $3, 1)
         on conflict (account_id, user_id) do update
         set department_id = excluded.department_id, version = known.version + 1
         where known.department_id is distinct from excluded.department_id
         returning version",
        account,
        user,
        department,
    )
    .fetch_optional(tx)
    .instrument(span("assign department"))
    .await?;
    Ok(version)
}

/// Who belongs to a department, after `after`.
pub(crate) async fn members(
    connection: &mut PgConnection,
    account: Uuid,
    department: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, Error> {
    let users = sqlx::query_scalar!(
        "select user_id from department_members
         where account_id = $1 and department_id = $2 and ($3::uuid is null or user_id > $3)
         order by user_id limit $4",
        account,
        department,
        after,
        limit,
    )
    .fetch_all(connection)
    .instrument(span("list department members"))
    .await?;
    Ok(users)
}
