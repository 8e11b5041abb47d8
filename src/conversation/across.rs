//! `Mine` and `All open`: what a user's virtual mailboxes are made of. What is in them lies in the
//! inboxes and channels of that user's view, where they may read it; `store::mirror` keeps them in
//! step.

use std::sync::Arc;

use crate::directory::{Directory, Place, Visible, view};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::Login;
use crate::store::Store;
use crate::store::mirror::Source;

/// What a user's virtual mailbox shows; nothing, when they do not have it.
///
/// Deliberately without other users' channels (`Other Users/`), which an admin may read: that is to
/// be a decision each time, and the log tells of it.
pub fn sources(
    store: &dyn Store,
    directory: &Directory,
    (user, role): (&Login, FolderRole),
) -> Arc<[Source]> {
    if !directory.has_virtual(user, role) {
        return Arc::default();
    }
    let is_shown = |visible: &&Visible| {
        let of_a_team = !matches!(visible.account, Account::User(_));
        of_a_team && visible.rights.has('r') && !matches!(visible.place, Place::OtherUsers(_))
    };
    let visible = view(directory, user);
    let accounts = visible.iter().filter(is_shown).map(|visible| &visible.account);
    let sources = accounts.flat_map(|account| {
        let seen = directory.seen_mode(account);
        let mailboxes = store.mailboxes(account).into_iter();
        let shown = mailboxes.filter(|mailbox| shows((user, role), &mailbox.folder));
        shown.map(move |mailbox| Source { mailbox: mailbox.id, seen })
    });
    sources.collect()
}

/// Whether the messages of a folder of an inbox belong into a user's virtual mailbox.
fn shows((user, role): (&Login, FolderRole), folder: &Folder) -> bool {
    match role {
        FolderRole::Mine => folder.assignee() == Some(user.as_str()),
        FolderRole::AllOpen => folder.is_root() || folder.assignee().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mine_is_what_i_have_and_open_is_what_is_not_done() {
        let anna = Login::new("anna");
        let shown = |role| {
            let folders = [
                Folder::root(),
                Folder::assigned(&anna),
                Folder::assigned(&Login::new("ben")),
                Folder::role(FolderRole::Done),
                Folder::role(FolderRole::Trash),
                Folder::new("VIP"),
            ];
            folders.map(|folder| shows((&anna, role), &folder))
        };
        assert_eq!(shown(FolderRole::Mine), [false, true, false, false, false, false]);
        assert_eq!(shown(FolderRole::AllOpen), [true, true, true, false, false, false]);
        assert_eq!(shown(FolderRole::Sent), [false; 6]);
    }
}
