//! What one user sees: the accounts whose mailboxes exist for them, and where they stand in the
//! namespace. A pure function of the directory; folders and names are added in `imap/`.

use super::{Directory, Rights, rights};
use crate::mail::account::Account;
use crate::mail::id::Login;

/// An account that a user sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Visible {
    /// Which.
    pub account: Account,
    /// What the user may do there.
    pub rights: Rights,
    /// Where it is shown.
    pub place: Place,
}

/// Where an account stands in a user's namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Prefix "": the user's own folders.
    Personal,
    /// `Private/<channel>`: owned by or routed to the user.
    Private,
    /// `Other Users/<owner>/<channel>`; of a mailbox that is open, `Other Users/<owner>/INBOX`.
    OtherUsers(Login),
    /// `Shared/<inbox>`
    Shared,
}

/// The accounts that `user` sees, in the order in which they are listed: own folders, private
/// channels, other users' mailboxes that are open to them and channels, shared inboxes; each group
/// by name.
pub fn view(directory: &Directory, user: &Login) -> Vec<Visible> {
    let mut visible = everything(directory, user);
    visible.retain(|v| v.rights.has('l'));
    visible
}

/// All accounts where they would stand in the view of `user`, those without rights included; of the
/// users' own only `user`'s. For the operator's eyes: a session asks for `view`.
pub fn everything(directory: &Directory, user: &Login) -> Vec<Visible> {
    let own = (Account::User(user.clone()), Place::Personal);
    let is_mine = |c: &&super::Channel| c.owner == *user || c.routed_to.contains(user);
    let channels = || directory.channels.values();
    let private =
        channels().filter(is_mine).map(|c| (Account::Channel(c.name.clone()), Place::Private));
    let mut others: Vec<_> = channels().filter(|c| !is_mine(c)).collect();
    others.sort_by_key(|c| (c.owner.clone(), c.name.clone()));
    let others = others
        .into_iter()
        .map(|c| (Account::Channel(c.name.clone()), Place::OtherUsers(c.owner.clone())));
    let opened = directory.openings.iter().filter(|(to, _)| to == user);
    let opened = opened.map(|(_, of)| (Account::User(of.clone()), Place::OtherUsers(of.clone())));
    let shared = directory.inboxes.keys().map(|name| (Account::Inbox(name.clone()), Place::Shared));
    let places = std::iter::once(own).chain(private).chain(opened).chain(others).chain(shared);
    let visible = |(account, place)| {
        let rights = rights(directory, user, &account);
        Visible { account, rights, place }
    };
    places.map(visible).collect()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
