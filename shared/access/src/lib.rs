//! Who may call what, and proof of who is calling.
