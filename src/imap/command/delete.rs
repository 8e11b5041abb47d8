//! DELETE: a mailbox goes, those below it stay. RFC 3501 §6.3.4

use super::Call;
use crate::imap::names::DELIMITER;
use crate::imap::{Completion, Refusal, names};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::fold;
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::Mailbox;
use crate::store::change::{Change, Transfer};

/// DELETE. Needs `x`. RFC 4314 §4
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = call.last_mailbox_name()?;
    let target = names::resolve(call.context, call.session, &name);
    let target = target.ok_or_else(Refusal::no_such_mailbox)?;
    if target.folder.is_root() || target.folder.has_role() {
        return Err(Refusal::no("CANNOT", "The server keeps this mailbox"));
    }
    let Some(mailbox) = &target.mailbox else {
        let has_children = has_children(call, &target.account, &target.folder);
        return Err(if has_children {
            Refusal::no("HASCHILDREN", "There is no mailbox of its own, only others below it")
        } else {
            Refusal::no_such_mailbox()
        });
    };
    if !target.rights.has('x') {
        return Err(Refusal::no_permission("You may not delete this mailbox"));
    }
    let mut changes: Vec<Change> = rescue(call, mailbox).into_iter().collect();
    changes.push(Change::MailboxDeleted { mailbox: mailbox.id });
    call.commit(changes).await?;
    if fold::composed(&name).is_some() {
        call.tell_other_name(&name, (&target.account, &target.folder));
    }
    Ok(Completion::ok("Deleted"))
}

/// What a team loses goes to its Trash first: product rule "Team Trash with undo".
fn rescue(call: &Call<'_, '_>, mailbox: &Mailbox) -> Option<Change> {
    let in_trash = mailbox.folder.path().starts_with(FolderRole::Trash.path());
    if in_trash || matches!(mailbox.account, Account::User(_)) {
        return None;
    }
    let trash = call.context.store.find(&mailbox.account, &Folder::role(FolderRole::Trash))?;
    let mut all = UidSet::new();
    all.insert_range(Uid(1), Uid(u32::MAX));
    let seen = crate::imap::seen_mode(&call.session.directory, &mailbox.account);
    Some(Change::Moved(Transfer {
        from: mailbox.id,
        from_seen: seen,
        uids: all,
        to: trash.id,
        to_seen: seen,
        user: call.session.user.clone(),
    }))
}

/// Whether any mailbox stands below `folder`.
pub(super) fn has_children(call: &Call<'_, '_>, account: &Account, folder: &Folder) -> bool {
    let above = format!("{}{DELIMITER}", folder.path());
    call.context.store.mailboxes(account).iter().any(|m| m.folder.path().starts_with(&above))
}
