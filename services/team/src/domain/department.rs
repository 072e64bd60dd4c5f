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
        match changes.place {
            Some(Place::Top) => self.parent = None,
            Some(Place::Below(above)) => self.parent = Some(above),
            None => {}
        }
        self.head = changes.head.unwrap_or(self.head);
        self.version += 1;
        self
    }
}

/// Where a department is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the top.
    Top,
    /// Right below another.
    Below(Uuid),
}

/// New values of some fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct DepartmentChanges {
    pub(crate) name: Option<String>,
    pub(crate) place: Option<Place>,
    pub(crate) head: Option<Uuid>,
}
