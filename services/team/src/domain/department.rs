//! A department.

use uuid::Uuid;

use super::name_key;

/// The most departments on the way from the top, the department itself included.
pub(crate) const DEEPEST: usize = 20;

/// A node of an account's departments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Department {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// The one above; `None` at the top.
    pub(crate) parent: Option<Uuid>,
    /// A user.
    pub(crate) head: Uuid,
    pub(crate) version: i64,
}

impl Department {
    /// The name as it is compared and sorted.
    pub(crate) fn name_key(&self) -> String {
        name_key(&self.name)
    }

    /// The department after `changes`.
    pub(crate) fn changed(mut self, changes: &DepartmentChanges) -> Self {
        if let Some(name) = &changes.name {
            self.name.clone_from(name);
        }
        self.parent = changes.parent.unwrap_or(self.parent);
        self.head = changes.head.unwrap_or(self.head);
        self.version += 1;
        self
    }
}

/// New values of some fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct DepartmentChanges {
    pub(crate) name: Option<String>,
    /// `Some(None)`: to the top.
    pub(crate) parent: Option<Option<Uuid>>,
    pub(crate) head: Option<Uuid>,
}
