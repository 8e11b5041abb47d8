//! RENAME: a mailbox and all below it; of INBOX, its messages. RFC 3501 §6.3.5

use super::create::{cannot, check_may_stand, missing_parents};
use super::{Call, delete};
use crate::imap::names::{self, DELIMITER, Resolved};
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal};
use crate::mail::account::{Account, Folder};
use crate::mail::fold;
use crate::store::change::Change;

/// RENAME. Needs `x` on the old name and `k` above the new one. RFC 4314 §4
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let old = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let new = utf7::mailbox(&mut call.arguments)?;
    call.arguments.end()?;
    let source = names::resolve(call.context, call.session, &old);
    let source = source.ok_or_else(Refusal::no_such_mailbox)?;
    let has_children = delete::has_children(call, &source.account, &source.folder);
    if source.mailbox.is_none() && !has_children {
        return Err(Refusal::no_such_mailbox());
    }
    let new = new.strip_suffix(DELIMITER).unwrap_or(&new);
    let target = check_target(call, &source, new)?;
    let changes = match source.folder.is_root() {
        true => emptying(call, &source, &target)?,
        false => renamings(call, &source, &target)?,
    };
    call.commit(changes).await?;
    if fold::composed(&old).or(fold::composed(new)).is_some() {
        // INBOX is what it was
        let given = if source.folder.is_root() { new } else { &old };
        call.tell_other_name(given, (&target.account, &target.folder));
    }
    Ok(Completion::ok("Renamed"))
}

fn check_target(call: &Call<'_, '_>, source: &Resolved, new: &str) -> Result<Resolved, Refusal> {
    let is_inbox = source.folder.is_root() && matches!(source.account, Account::User(_));
    if source.folder.has_role() || source.folder.is_root() && !is_inbox {
        return Err(Refusal::no("CANNOT", "The server keeps this mailbox"));
    }
    if !source.rights.has('x') {
        return Err(Refusal::no_permission("You may not rename this mailbox"));
    }
    // another account's names are refused as those of no account
    let target = names::resolve(call.context, call.session, new)
        .filter(|target| target.account == source.account)
        .ok_or_else(cannot)?;
    let below_itself = format!("{}{DELIMITER}", source.folder.path());
    if !is_inbox && target.folder.path().starts_with(&below_itself) {
        return Err(Refusal::no("CANNOT", "A mailbox cannot be moved below itself"));
    }
    if target.mailbox.is_some() || delete::has_children(call, &target.account, &target.folder) {
        return Err(Refusal::no("ALREADYEXISTS", "A mailbox of that name exists"));
    }
    check_may_stand(&target)?;
    Ok(target)
}

/// The mailbox, if it exists, and all below it get their new paths.
fn renamings(
    call: &Call<'_, '_>,
    source: &Resolved,
    target: &Resolved,
) -> Result<Vec<Change>, Refusal> {
    let (old, new) = (source.folder.path(), target.folder.path());
    let mut changes = missing_parents(call, target);
    for mailbox in call.context.store.mailboxes(&source.account) {
        let Some(below) = mailbox.folder.path().strip_prefix(old) else { continue };
        if !below.is_empty() && !below.starts_with(DELIMITER) {
            continue;
        }
        let folder = Folder::new(&format!("{new}{below}"));
        let name = names::name_of(call.context, call.session, &source.account, &folder);
        if !name.is_some_and(|name| names::is_well_formed(&name)) {
            return Err(Refusal::no("LIMIT", "A name below it would have too many levels"));
        }
        changes.push(Change::MailboxRenamed { mailbox: mailbox.id, folder });
    }
    Ok(changes)
}

/// The messages go to a new mailbox, INBOX stays, and so does what is below it. RFC 3501 §6.3.5
fn emptying(
    call: &Call<'_, '_>,
    source: &Resolved,
    target: &Resolved,
) -> Result<Vec<Change>, Refusal> {
    let inbox = source.mailbox.as_ref().ok_or_else(Refusal::no_such_mailbox)?;
    let mut changes = missing_parents(call, target);
    changes.push(Change::MailboxEmptied {
        mailbox: inbox.id,
        seen: source.seen,
        folder: target.folder.clone(),
        user: call.session.user.clone(),
    });
    Ok(changes)
}
