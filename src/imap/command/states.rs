//! Messages on their way into a folder that says who has a conversation: what else moves, and what
//! becomes of the keyword that names the assignee. For MOVE, COPY and STORE alike.

use super::Call;
use super::share::Share;
use crate::conversation::{Scope, State, moving};
use crate::imap::Refusal;
use crate::imap::names::Resolved;
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::MailboxId;
use crate::store::change::Change;

/// The changes that bring a share into a state of its inbox, those that are named first, and then
/// the rest of their conversations. What somebody else has moved in the meantime is not there to be
/// moved, and nothing of it is; none at all, when all of it was.
pub(super) async fn within(
    call: &Call<'_, '_>,
    share: &Share,
    (state, to): (State, MailboxId),
) -> Result<Vec<Change>, Refusal> {
    let (from, account) = (&share.mailbox, &share.mailbox.account);
    let store = &*call.context.store;
    let scope = Scope { store, directory: &call.session.directory, account };
    let present = store.snapshot(from.id).await?;
    let blobs: Vec<_> = present.entries_in(&share.uids).map(|entry| entry.blob).collect();
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut groups = vec![(from.id, share.uids.clone())];
    if from.id != to && is_one_place(account, &from.folder) {
        groups.extend(moving::rest(&scope, (&blobs, &groups[0]), to).await?);
    }
    let target = moving::Target { state, mailbox: to, user: call.session.user.clone() };
    Ok(moving::changes(&scope, &groups, &target).await?)
}

/// What follows when a share has been copied into a folder of an inbox or a channel, from wherever:
/// the copies name the assignee that the folder stands for, and no other; and where the folder is a
/// state, what the inbox has of their conversations goes there, too.
pub(super) async fn arrivals(
    call: &Call<'_, '_>,
    share: &Share,
    target: &Resolved,
) -> Result<Vec<Change>, Refusal> {
    let Some(to) = &target.mailbox else { return Ok(Vec::new()) };
    if matches!(to.account, Account::User(_)) {
        return Ok(Vec::new());
    }
    let store = &*call.context.store;
    let state = State::of(&to.account, &to.folder);
    let source = store.snapshot(share.mailbox.id).await?;
    let from = match share.mailbox.account == to.account {
        true => moving::Came::FromHere,
        false => moving::Came::FromElsewhere,
    };
    let mut changes = moving::arrivals(to.id, state.as_ref(), (from, &source.keywords));
    let Some(state) = state.filter(|_| target.rights.has('e') && target.rights.has('t')) else {
        return Ok(changes);
    };
    let scope = Scope { store, directory: &call.session.directory, account: &to.account };
    let blobs: Vec<_> = source.entries_in(&share.uids).map(|entry| entry.blob).collect();
    let named = (share.mailbox.id, share.uids.clone());
    let groups = moving::rest(&scope, (&blobs, &named), to.id).await?;
    let target = moving::Target { state, mailbox: to.id, user: call.session.user.clone() };
    changes.extend(moving::changes(&scope, &groups, &target).await?);
    Ok(changes)
}

/// Whether COPY takes the messages away from where they are: a message is in one place only of its
/// inbox's states, Junk and Trash, so a copy between two of these is a move. Programs without MOVE
/// mark and expunge the original behind it, which is not there any more: it ends as a move, too.
pub(super) fn copy_is_move(share: &Share, target: &Resolved) -> bool {
    let (from, account) = (&share.mailbox, &share.mailbox.account);
    let Some(to) = target.mailbox.as_ref().filter(|to| to.account == *account) else {
        return false;
    };
    // to where it lies, too: it does not lie there twice
    share.is_team() && is_one_place(account, &from.folder) && is_one_place(account, &to.folder)
}

/// Whether a message is in this folder of an inbox or in another such one, and never in two.
fn is_one_place(account: &Account, folder: &Folder) -> bool {
    State::of(account, folder).is_some()
        || folder.is_role(FolderRole::Trash)
        || folder.is_role(FolderRole::Junk)
}
