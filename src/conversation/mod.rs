//! Layer 2: conversations of an inbox or a channel: which messages belong together, who has them,
//! and what follows from that for mail that comes in, is moved or is answered. Decides and proposes
//! changes; commits nothing, and knows no protocol.
//!
//! The folder is the state: a conversation is open in the inbox's root, assigned in
//! `Assigned/<login>`, closed in `Done`. A keyword names the assignee and stays when it is closed;
//! setting it assigns.

pub mod absence;
pub mod acknowledging;
pub mod across;
pub mod collision;
pub mod gathering;
mod header;
pub mod moving;
pub mod note;
pub mod placing;
pub mod restoring;
pub mod routing;
pub mod thread;
pub mod turn;

pub use absence::is_away;

use crate::directory::Directory;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::Login;
use crate::store::Store;

/// How a keyword begins that names the assignee; the login follows.
const KEYWORD_PREFIX: &str = "$assigned-";
/// Longest keyword that IMAP takes from a client. What is longer is not set by us either.
const KEYWORD_BYTES_MAX: usize = 128;

/// An inbox or a channel, and what is known of the world.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Where mail is kept.
    pub store: &'a dyn Store,
    /// What is declared.
    pub directory: &'a Directory,
    /// Whose conversations.
    pub account: &'a Account,
}

impl Scope<'_> {
    /// Whether a conversation can be given to a user: they work in the inbox and are not away, and
    /// there is a folder for what they have.
    pub fn can_have(&self, login: &Login) -> bool {
        let folder = State::Assigned(login.clone()).folder();
        self.directory.works_in(login, self.account)
            && !is_away(self, login)
            && self.store.find(self.account, &folder).is_some()
    }
}

/// Who has a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Nobody.
    Open,
    /// One of those who work in the inbox.
    Assigned(Login),
    /// It is closed.
    Done,
}

impl State {
    /// What it means that a message lies in this folder; nothing in personal mailboxes and in
    /// folders for other purposes.
    pub fn of(account: &Account, folder: &Folder) -> Option<State> {
        if matches!(account, Account::User(_)) {
            return None;
        }
        if folder.is_root() {
            return Some(State::Open);
        }
        if folder.is_role(FolderRole::Done) {
            return Some(State::Done);
        }
        folder.assignee().map(|login| State::Assigned(Login::new(login)))
    }

    /// Where it lies.
    pub fn folder(&self) -> Folder {
        match self {
            State::Open => Folder::root(),
            State::Assigned(login) => Folder::assigned(login),
            State::Done => Folder::role(FolderRole::Done),
        }
    }
}

/// Whether a message is in this folder of an inbox or in another such one, and never in two.
pub fn is_one_place(account: &Account, folder: &Folder) -> bool {
    State::of(account, folder).is_some()
        || folder.is_role(FolderRole::Trash)
        || folder.is_role(FolderRole::Junk)
}

/// The keyword that names an assignee; none for a login that a keyword cannot spell.
/// RFC 3501 §9 `flag-keyword`
pub fn keyword(login: &Login) -> Option<String> {
    let keyword = format!("{KEYWORD_PREFIX}{login}");
    let is_atom_char = |b: u8| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b);
    (keyword.len() <= KEYWORD_BYTES_MAX && keyword.bytes().all(is_atom_char)).then_some(keyword)
}

/// Whom a keyword names as assignee. Keywords are compared without regard to case.
pub fn assignee(keyword: &str) -> Option<Login> {
    let (prefix, login) = keyword.split_at_checked(KEYWORD_PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(KEYWORD_PREFIX) && !login.is_empty()).then(|| Login::new(login))
}

/// Whether only the daemon sets a keyword and takes it away.
pub fn is_ours(keyword: &str) -> bool {
    assignee(keyword).is_some() || note::is_keyword(keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_state() {
        let support = Account::Inbox("Support".into());
        let states = [State::Open, State::Done, State::Assigned(Login::new("anna"))];
        for state in states {
            assert_eq!(State::of(&support, &state.folder()), Some(state));
        }
        for folder in [FolderRole::Sent, FolderRole::Junk, FolderRole::Trash] {
            assert_eq!(State::of(&support, &Folder::role(folder)), None);
        }
        assert_eq!(State::of(&support, &Folder::new("VIP")), None);
        assert_eq!(State::of(&Account::User(Login::new("anna")), &Folder::root()), None);
    }

    #[test]
    fn a_keyword_names_the_assignee() {
        let anna = Login::new("anna@example.org");
        assert_eq!(keyword(&anna).as_deref(), Some("$assigned-anna@example.org"));
        assert_eq!(assignee("$Assigned-Anna@example.org"), Some(anna));
        assert_eq!(
            (assignee("$assigned-"), assignee("$assigne"), assignee("ä")),
            (None, None, None)
        );
        for odd in ["a b", "a(b", "jörg", "a]"] {
            assert_eq!(keyword(&Login::new(odd)), None, "{odd}");
        }
        let longest = "a".repeat(KEYWORD_BYTES_MAX - KEYWORD_PREFIX.len());
        assert!(keyword(&Login::new(&longest)).is_some());
        assert!(keyword(&Login::new(&(longest + "a"))).is_none());
    }
}
