//! The names that a client sees, and the accounts and folders that they mean. The only file that
//! knows the namespaces.

use std::sync::Arc;

use super::{Context, Session};
use crate::directory::Rights;
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::store::Mailbox;

/// What a name means for one user.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Whose.
    pub account: Account,
    /// Which folder.
    pub folder: Folder,
    /// What the user may do there; never empty.
    pub rights: Rights,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
    /// The mailbox, if it exists.
    pub mailbox: Option<Arc<Mailbox>>,
}

/// Finds what `name` (decoded, UTF-8) means for the session's user. `None`: it is forbidden, or no
/// account has a folder of that name; the two cannot be told apart.
pub fn resolve(_context: &Context, _session: &Session, _name: &str) -> Option<Resolved> {
    None
}
