//! The declaration of what a service keeps.

/// Everything that a service keeps.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    /// The tables with rows of accounts, in the order in which their rows are deleted: whatever refers to a table stands before it.
    pub tables: &'static [Table],
    /// The blobs that its rows name.
    pub files: &'static [Files],
    /// Parts of the blob store in which each account has a part of its own.
    pub blobs: &'static [&'static str],
    /// The tables with no row of an account.
    pub others: &'static [&'static str],
}

/// A table with rows of accounts.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name, and that of its file in an export.
    pub name: &'static str,
    /// The column with the account's id.
    pub account: &'static str,
    /// The columns that tell the rows of one account apart, as an index has them behind the account. They never change.
    pub key: &'static [&'static str],
    /// The columns that an export shows. Without any the table is in no export.
    pub shown: &'static [&'static str],
    /// Those that it never shows: secrets, and what only the machinery needs.
    pub withheld: &'static [&'static str],
    /// Which rows are deleted, in SQL; `None`: all.
    pub deleted: Option<&'static str>,
    /// Whether its rows are deleted in one statement, because they refer to one another. For tables of a few thousand rows an account.
    pub at_once: bool,
}

impl Table {
    /// A table whose rows are deleted and in no export.
    pub const fn new(name: &'static str, key: &'static [&'static str]) -> Self {
        Self { name, account: "account_id", key, shown: &[], withheld: &[], deleted: None, at_once: false }
    }

    /// An export shows these columns.
    #[must_use]
    pub const fn shows(self, columns: &'static [&'static str]) -> Self {
        Self { shown: columns, ..self }
    }

    /// No export shows these columns.
    #[must_use]
    pub const fn withholds(self, columns: &'static [&'static str]) -> Self {
        Self { withheld: columns, ..self }
    }

    /// The account's id stands in another column than `account_id`.
    #[must_use]
    pub const fn by(self, account: &'static str) -> Self {
        Self { account, ..self }
    }

    /// Its rows refer to one another.
    #[must_use]
    pub const fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// Only rows for which `condition` holds are deleted.
    #[must_use]
    pub const fn deleted_where(self, condition: &'static str) -> Self {
        Self { deleted: Some(condition), ..self }
    }

    /// Its rows stay for ever.
    #[must_use]
    pub const fn stays(self) -> Self {
        self.deleted_where("false")
    }
}

/// Blobs that the rows of a table name, one file each in an export: `<folder>/<key>.<extension>`.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// The folder, and the name under which an export goes on with it. No table has the same one.
    pub folder: &'static str,
    /// What the files' names end with.
    pub extension: &'static str,
    /// The table.
    pub table: &'static str,
    /// Its one key column behind the account, a UUID.
    pub key: &'static str,
    /// The column with the blob's key; null where the row has none.
    pub blob: &'static str,
    /// The part of the blob store in which each account has a part.
    pub space: &'static str,
    /// The column that names a part within that of the account; null: there is none.
    pub within: Option<&'static str>,
}
