//! CREATE: a mailbox, and those above it that are missing. RFC 3501 §6.3.3

use super::Call;
use crate::imap::names::{self, DELIMITER, Resolved};
use crate::imap::{Completion, Refusal, object_id, wire::utf7};
use crate::mail::account::{Folder, FolderRole};
use crate::store::change::{Change, Outcome};

/// CREATE. Needs `k` on the parent; the rights of an account are those of all its folders.
/// RFC 4314 §4
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.end()?;
    // a delimiter at the end only says that names will be made below. RFC 3501 §6.3.3
    let name = name.strip_suffix(DELIMITER).unwrap_or(&name);
    let target = names::resolve(call.context, call.session, name).ok_or_else(cannot)?;
    if target.mailbox.is_some() {
        return Err(Refusal::no("ALREADYEXISTS", "A mailbox of that name exists"));
    }
    check_may_stand(&target)?;
    let receipt = call.commit(creations(call, &target)).await?;
    Ok(created(call, receipt.outcomes.last()))
}

/// The last one that was made is the one that was asked for. RFC 8474 §4.1
fn created(call: &Call<'_, '_>, outcome: Option<&Outcome>) -> Completion {
    match outcome {
        Some(Outcome::Created(id)) if call.context.capabilities.has("OBJECTID") => {
            let code = format!("MAILBOXID ({})", object_id::mailbox(*id));
            Completion::with_code(code, "Created")
        }
        _ => Completion::ok("Created"),
    }
}

/// The one answer for names under which nothing can be made: of no account, or of one that the user
/// does not see.
pub(super) fn cannot() -> Refusal {
    Refusal::no("CANNOT", "No mailbox can be made under that name")
}

/// Whether the user may make a folder there.
pub(super) fn check_may_stand(target: &Resolved) -> Result<(), Refusal> {
    if !target.rights.has('k') {
        return Err(Refusal::no_permission("You may not create mailboxes there"));
    }
    let first = target.folder.path().split(DELIMITER).next();
    if target.folder.has_role() || first == Some(FolderRole::Assigned.path()) {
        return Err(Refusal::no("CANNOT", "The folders of members are made by the server"));
    }
    Ok(())
}

/// The mailbox and the missing ones above it, from the top.
fn creations(call: &Call<'_, '_>, target: &Resolved) -> Vec<Change> {
    let create = |folder| Change::MailboxCreated { account: target.account.clone(), folder };
    let mut changes = missing_parents(call, target);
    changes.push(create(target.folder.clone()));
    changes
}

/// The mailboxes above the target that do not exist, from the top.
pub(super) fn missing_parents(call: &Call<'_, '_>, target: &Resolved) -> Vec<Change> {
    let path = target.folder.path();
    let parents = path.match_indices(DELIMITER).map(|(at, _)| &path[..at]);
    parents
        // INBOX is the root's name, not a folder's
        .filter(|parent| *parent != names::INBOX)
        .map(Folder::new)
        .filter(|folder| call.context.store.find(&target.account, folder).is_none())
        .map(|folder| Change::MailboxCreated { account: target.account.clone(), folder })
        .collect()
}
