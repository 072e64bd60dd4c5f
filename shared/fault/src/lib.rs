//! Errors with a code, a reason and a text in the reader's language.
