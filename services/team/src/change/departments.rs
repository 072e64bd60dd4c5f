//! Changes of departments.
//!
//! The departments of an account form trees: whoever makes, moves or removes one, or puts somebody into one, holds the account's
//! row in `department_trees`, so that what he finds of the shape stays true until his transaction ends.

use diwan_runtime::ids;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{DEEPEST, Department, DepartmentChanges},
    encode::{department_assigned, department_changed},
    error::Error,
    store::{departments, members, user_states},
};

/// Makes a department.
pub(crate) async fn create(
    tx: &mut PgConnection,
    account: Uuid,
    (name, parent, head): (String, Option<Uuid>, Uuid),
    now: Timestamp,
) -> Result<Department, Error> {
    departments::lock_tree(tx, account).await?;
    require_user(tx, account, head).await?;
    let department = Department { id: ids::new_id(), name, parent, head, version: 1 };
    require_place(tx, account, &department).await?;
    save(tx, account, &department, now).await?;
    Ok(department)
}

/// Changes a department, and moves what is below it with it.
pub(crate) async fn update(
    tx: &mut PgConnection,
    account: Uuid,
    id: Uuid,
    changes: &DepartmentChanges,
    now: Timestamp,
) -> Result<Department, Error> {
    departments::lock_tree(tx, account).await?;
    let department = find(tx, account, id).await?.changed(changes);
    if let Some(head) = changes.head {
        require_user(tx, account, head).await?;
    }
    if changes.place.is_some() {
        require_place(tx, account, &department).await?;
    }
    save(tx, account, &department, now).await?;
    Ok(department)
}

/// Removes an empty department.
pub(crate) async fn remove(tx: &mut PgConnection, account: Uuid, id: Uuid, now: Timestamp) -> Result<(), Error> {
    departments::lock_tree(tx, account).await?;
    let mut department = find(tx, account, id).await?;
    if !departments::is_empty(tx, account, id).await? {
        return Err(Error::DepartmentNotEmpty);
    }
    departments::remove(tx, account, id).await?;
    department.version += 1;
    Ok(diwan_feed::append(tx, account, now, &[department_changed(&department, true)]).await?)
}

/// Puts a user into a department, or out of his.
pub(crate) async fn assign(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    department: Option<Uuid>,
    now: Timestamp,
) -> Result<(), Error> {
    departments::lock_tree(tx, account).await?;
    match department {
        Some(department) => {
            find(tx, account, department).await?;
            require_user(tx, account, user).await?;
        }
        // Who is deactivated may leave.
        None if !members::exists(tx, account, user).await? => return Err(Error::UserNotFound(user)),
        None => {}
    }
    let Some(version) = departments::assign(tx, account, user, department).await? else { return Ok(()) };
    Ok(diwan_feed::append(tx, account, now, &[department_assigned(user, department, version)]).await?)
}

async fn find(tx: &mut PgConnection, account: Uuid, id: Uuid) -> Result<Department, Error> {
    departments::find(tx, account, id).await?.ok_or(Error::DepartmentNotFound(id))
}

/// A known user who is not deactivated.
async fn require_user(tx: &mut PgConnection, account: Uuid, user: Uuid) -> Result<(), Error> {
    if !members::exists(tx, account, user).await? {
        return Err(Error::UserNotFound(user));
    }
    if user_states::is_deactivated(tx, account, user).await? { Err(Error::UserDeactivated) } else { Ok(()) }
}

/// A place that exists, is not below the department itself, and not too deep for it and what is below it.
async fn require_place(tx: &mut PgConnection, account: Uuid, department: &Department) -> Result<(), Error> {
    let Some(parent) = department.parent else { return Ok(()) };
    let way = departments::way_up(tx, account, parent).await?;
    if way.is_empty() {
        return Err(Error::DepartmentNotFound(parent));
    }
    if way.contains(&department.id) {
        return Err(Error::DepartmentCycle);
    }
    // A new one is not stored yet, and as high as itself.
    let height = departments::height(tx, account, department.id).await?.max(1);
    if way.len() + height > DEEPEST { Err(Error::DepartmentTooDeep) } else { Ok(()) }
}

async fn save(tx: &mut PgConnection, account: Uuid, department: &Department, now: Timestamp) -> Result<(), Error> {
    departments::save(tx, account, department).await.map_err(|error| {
        if error.is_unique_violation(departments::NAME_INDEX) {
            Error::DepartmentNameTaken(department.name.clone())
        } else {
            error.into()
        }
    })?;
    Ok(diwan_feed::append(tx, account, now, &[department_changed(department, false)]).await?)
}
