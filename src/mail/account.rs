//! Who a mailbox belongs to, and which folder of theirs it is. Knows no namespace: the names that a
//! client sees are made in `imap/`, from these and the localised folder names of the config.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::Login;

/// The owner of a tree of mailboxes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Account {
    /// A personal mailbox; nobody else sees it.
    User(Login),
    /// A shared inbox, by its name in the directory.
    Inbox(Arc<str>),
    /// A private channel, by its name in the directory.
    Channel(Arc<str>),
}

/// A folder in an account's tree: the path below the account's root, levels joined by `/`.
///
/// The root is the empty path: a user's INBOX, an inbox's or channel's own mailbox. Folders with a
/// role have a path that starts with `\`, so that the name shown can be localised and cannot
/// collide with a folder that a user makes (whose levels must not start with `\`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Folder(Arc<str>);

/// The folders that have a meaning of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FolderRole {
    /// Drafts of a user.
    Drafts,
    /// What was sent.
    Sent,
    /// Spam.
    Junk,
    /// Deleted messages; an inbox's keeps what any member deleted.
    Trash,
    /// A user's archive.
    Archive,
    /// Closed conversations of an inbox.
    Done,
    /// Parent of one folder per member; holds no messages itself.
    Assigned,
    /// Virtual, a user's: the conversations that they have, in all inboxes.
    Mine,
    /// Virtual, a user's: all that is not closed, in all inboxes that they may read.
    AllOpen,
}

impl FolderRole {
    /// The roles that a personal mailbox has, in the order in which they are listed.
    pub const PERSONAL: [FolderRole; 5] = [
        FolderRole::Drafts,
        FolderRole::Sent,
        FolderRole::Junk,
        FolderRole::Trash,
        FolderRole::Archive,
    ];
    /// The virtual mailboxes that a user can have.
    pub const VIRTUAL: [FolderRole; 2] = [FolderRole::Mine, FolderRole::AllOpen];
    /// All that a personal mailbox can have, in the order in which they are listed.
    pub const OWN: [FolderRole; 7] = [
        FolderRole::Drafts,
        FolderRole::Sent,
        FolderRole::Junk,
        FolderRole::Trash,
        FolderRole::Archive,
        FolderRole::Mine,
        FolderRole::AllOpen,
    ];
    /// The roles that a shared inbox has; `Assigned` adds one folder per member below it.
    pub const INBOX: [FolderRole; 5] = [
        FolderRole::Assigned,
        FolderRole::Done,
        FolderRole::Sent,
        FolderRole::Junk,
        FolderRole::Trash,
    ];
    /// The roles that a private channel has.
    pub const CHANNEL: [FolderRole; 3] = [FolderRole::Done, FolderRole::Sent, FolderRole::Trash];

    /// The path in the store.
    pub fn path(self) -> &'static str {
        match self {
            FolderRole::Drafts => "\\Drafts",
            FolderRole::Sent => "\\Sent",
            FolderRole::Junk => "\\Junk",
            FolderRole::Trash => "\\Trash",
            FolderRole::Archive => "\\Archive",
            FolderRole::Done => "\\Done",
            FolderRole::Assigned => "\\Assigned",
            FolderRole::Mine => "\\Mine",
            FolderRole::AllOpen => "\\AllOpen",
        }
    }
}

impl Folder {
    /// A folder by its path in the store.
    pub fn new(path: &str) -> Folder {
        Folder(path.into())
    }

    /// The account's own mailbox: a user's INBOX, or the inbox or channel itself.
    pub fn root() -> Folder {
        Folder::new("")
    }

    /// The folder with a role.
    pub fn role(role: FolderRole) -> Folder {
        Folder::new(role.path())
    }

    /// `Assigned/<login>`.
    pub fn assigned(login: &Login) -> Folder {
        Folder::new(&format!("{}/{login}", FolderRole::Assigned.path()))
    }

    /// The path in the store.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Whether this is the account's own mailbox.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the daemon made this folder for a purpose; such a folder is not renamed or deleted.
    pub fn has_role(&self) -> bool {
        self.0.starts_with('\\') && (!self.0.contains('/') || self.assignee().is_some())
    }

    /// Whether this is the folder with `role` itself.
    pub fn is_role(&self, role: FolderRole) -> bool {
        &*self.0 == role.path()
    }

    /// Which virtual mailbox this would be for a user.
    pub fn virtual_role(&self) -> Option<FolderRole> {
        FolderRole::VIRTUAL.into_iter().find(|role| self.is_role(*role))
    }

    /// The member whose `Assigned/<login>` this is.
    pub fn assignee(&self) -> Option<&str> {
        let below = self.0.strip_prefix(FolderRole::Assigned.path())?;
        below.strip_prefix('/').filter(|login| !login.contains('/'))
    }
}

/// In words: `inbox Support`, `channel Anna Sales`, `mailbox anna`.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::User(login) => write!(f, "mailbox {login}"),
            Account::Inbox(name) => write!(f, "inbox {name}"),
            Account::Channel(name) => write!(f, "channel {name}"),
        }
    }
}

impl Account {
    /// The folders that the daemon makes and keeps, apart from `Assigned/<login>`; the root first.
    pub fn standard_folders(&self) -> Vec<Folder> {
        let roles: &[FolderRole] = match self {
            Account::User(_) => &FolderRole::PERSONAL,
            Account::Inbox(_) => &FolderRole::INBOX,
            Account::Channel(_) => &FolderRole::CHANNEL,
        };
        let mut folders = vec![Folder::root()];
        folders
            .extend(roles.iter().filter(|r| **r != FolderRole::Assigned).map(|r| Folder::role(*r)));
        folders
    }
}

/// What the role folders are called in this installation; `[folders]` of the config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderNames {
    /// Drafts
    pub drafts: String,
    /// Sent
    pub sent: String,
    /// Junk
    pub junk: String,
    /// Trash
    pub trash: String,
    /// Archive
    pub archive: String,
    /// Done: closed conversations
    pub done: String,
    /// Assigned: parent of a folder per member
    pub assigned: String,
    /// Mine: what a user has in all inboxes
    pub mine: String,
    /// All open: what is not closed in all inboxes
    pub all_open: String,
}

impl Default for FolderNames {
    fn default() -> FolderNames {
        FolderNames {
            drafts: "Drafts".into(),
            sent: "Sent".into(),
            junk: "Junk".into(),
            trash: "Trash".into(),
            archive: "Archive".into(),
            done: "Done".into(),
            assigned: "Assigned".into(),
            mine: "Mine".into(),
            all_open: "All open".into(),
        }
    }
}

impl FolderNames {
    /// The name of a role's folder.
    pub fn of(&self, role: FolderRole) -> &str {
        match role {
            FolderRole::Drafts => &self.drafts,
            FolderRole::Sent => &self.sent,
            FolderRole::Junk => &self.junk,
            FolderRole::Trash => &self.trash,
            FolderRole::Archive => &self.archive,
            FolderRole::Done => &self.done,
            FolderRole::Assigned => &self.assigned,
            FolderRole::Mine => &self.mine,
            FolderRole::AllOpen => &self.all_open,
        }
    }
}
