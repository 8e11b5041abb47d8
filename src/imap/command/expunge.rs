//! EXPUNGE and UID EXPUNGE, and what removal means: out of an inbox or channel it goes into the
//! team's Trash, out of that Trash only a manager removes it for good.

use super::Call;
use super::share::{Share, shares};
use crate::imap::view::{Condstore, Expunge, SequenceSet, updates};
use crate::imap::{Completion, Context, Numbering, Refusal, Selected, virtual_mailbox};
use crate::mail::account::{Folder, FolderRole};
use crate::mail::flag::{FlagList, SystemFlags};
use crate::mail::id::MailboxId;
use crate::mail::uid_set::UidSet;
use crate::store::StoreError;
use crate::store::change::{Change, FlagOperation};

/// How often an expunge looks again, because a mark has been taken away meanwhile.
const LOOKS_MAX: usize = 10;

/// EXPUNGE and UID EXPUNGE. RFC 3501 §6.4.3, RFC 4315 §2.1
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let set = match call.numbering {
        Numbering::Uid => Some(SequenceSet::parse(&mut call.arguments)?),
        Numbering::Sequence => None,
    };
    call.arguments.end()?;
    check(selected)?;
    match remove_deleted(call, selected, (set.as_ref(), |_: &UidSet| true)).await? {
        Removed::Nothing => Ok(Completion::ok("Expunged")),
        Removed::Something => told(call, selected, "Expunged").await,
    }
}

/// Tells what has just been removed; a client that knows QRESYNC needs to know how far it is then.
/// RFC 7162 §3.2.7, RFC 6851 §4.4
pub(super) async fn told(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    text: &'static str,
) -> Result<Completion, Refusal> {
    selected.view.ask();
    if selected.view.condstore() != Condstore::Qresync {
        // with the other updates, before the tagged answer
        return Ok(Completion::ok(text));
    }
    updates(call.context, selected, call.out, Expunge::Allowed).await?;
    let code = format!("HIGHESTMODSEQ {}", selected.view.told_up_to().0);
    Ok(Completion::with_code(code, text))
}

/// Whether the user may expunge here.
pub(super) fn check(selected: &Selected) -> Result<(), Refusal> {
    if selected.examined {
        return Err(Refusal::no("READ-ONLY", "The mailbox was opened with EXAMINE"));
    }
    if !selected.rights.has('e') {
        return Err(Refusal::no_permission("You may not expunge messages here"));
    }
    Ok(())
}

/// The messages with \Deleted, now, among those that the client knows of.
async fn deleted(
    call: &Call<'_, '_>,
    selected: &Selected,
    set: Option<&SequenceSet>,
) -> Result<UidSet, Refusal> {
    let present = call.context.store.snapshot(selected.mailbox.id).await?;
    if present.totals().deleted == 0 {
        return Ok(UidSet::new());
    }
    let marked = present.iter().filter(|entry| entry.flags.contains(SystemFlags::DELETED));
    let marked: UidSet = marked.map(|entry| entry.uid).collect();
    let known = match set {
        Some(set) => selected.view.uids(&selected.view.select(set, Numbering::Uid)?),
        None => selected.view.named(&marked, Numbering::Uid),
    };
    Ok(marked.iter().filter(|uid| known.contains(*uid)).collect())
}

/// Whether anything was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removed {
    /// Nothing was to be.
    Nothing,
    /// What was marked, and `wanted`.
    Something,
}

/// Removes what is marked with \Deleted, as its mailbox removes it, if that is wanted. Whose mark
/// has been taken away by the time that it would go stays: it is looked at again.
pub(super) async fn remove_deleted(
    call: &Call<'_, '_>,
    selected: &Selected,
    (set, wanted): (Option<&SequenceSet>, impl Fn(&UidSet) -> bool),
) -> Result<Removed, Refusal> {
    for _ in 0..LOOKS_MAX {
        let uids = deleted(call, selected, set).await?;
        if uids.is_empty() || !wanted(&uids) {
            return Ok(Removed::Nothing);
        }
        let going = shares(call, selected, &uids).into_iter().filter(|s| s.rights.has('e'));
        let still = |s: Share| Change::StillDeleted { mailbox: s.mailbox.id, uids: s.uids };
        let mut changes: Vec<Change> = going.map(still).collect();
        changes.extend(removal(call, selected, &uids)?);
        match call.committed(changes).await {
            Err(StoreError::Outrun) => {
                virtual_mailbox::freshen(call.context, call.session, &selected.mailbox).await?;
            }
            done => return Ok(done.map(|_| Removed::Something)?),
        }
    }
    Err(StoreError::Outrun.into())
}

/// The changes that remove messages from where they lie.
pub(super) fn removal(
    call: &Call<'_, '_>,
    selected: &Selected,
    uids: &UidSet,
) -> Result<Vec<Change>, Refusal> {
    let mut changes = Vec::new();
    // of a virtual mailbox, what may not be removed where it lies stays
    let (removable, kept): (Vec<Share>, Vec<Share>) =
        shares(call, selected, uids).into_iter().partition(|share| share.rights.has('e'));
    if removable.is_empty() && !kept.is_empty() {
        return Err(Refusal::no_permission("You may not expunge messages there"));
    }
    for share in removable {
        changes.extend(Removal::of(call.context, &share).changes(call, &share)?);
    }
    Ok(changes)
}

/// What becomes of a message that is removed from the selected mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Removal {
    /// It is gone.
    Final,
    /// It moves into the team's Trash.
    IntoTrash(MailboxId),
    /// It stays: it is in the team's Trash already, and the user does not manage the inbox.
    NotAllowed,
    /// It should move into the team's Trash, and there is none.
    TrashMissing,
}

impl Removal {
    /// The rule of the mailbox for the user.
    pub(super) fn of(context: &Context, share: &Share) -> Removal {
        let mailbox = &share.mailbox;
        if !share.is_team() {
            return Removal::Final;
        }
        if mailbox.folder.is_role(FolderRole::Trash) {
            let manages = share.rights.has('x');
            return if manages { Removal::Final } else { Removal::NotAllowed };
        }
        match context.store.find(&mailbox.account, &Folder::role(FolderRole::Trash)) {
            Some(trash) => Removal::IntoTrash(trash.id),
            None => Removal::TrashMissing,
        }
    }

    /// The changes that remove the share.
    pub(super) fn changes(
        self,
        call: &Call<'_, '_>,
        share: &Share,
    ) -> Result<Vec<Change>, Refusal> {
        let (from, uids) = (share.mailbox.id, share.uids.clone());
        match self {
            Removal::Final => Ok(vec![Change::Expunged { mailbox: from, uids }]),
            Removal::IntoTrash(to) => Ok(vec![
                undelete(from, uids),
                Change::Moved(share.transfer(call, (to, share.seen))),
            ]),
            Removal::NotAllowed => Err(Refusal::no_permission(
                "The team's Trash is emptied after its retention; a super-admin can expunge it now",
            )),
            Removal::TrashMissing => Err(trash_missing()),
        }
    }
}

/// In the Trash a message is not marked for deletion: the next EXPUNGE there would end it.
fn undelete(mailbox: MailboxId, uids: UidSet) -> Change {
    Change::FlagsSet {
        mailbox,
        uids,
        operation: FlagOperation::Remove,
        flags: FlagList { system: SystemFlags::DELETED, keywords: Vec::new() },
        unchanged_since: None,
        viewer: None,
    }
}

/// The daemon makes this folder at start, so this is a fault of the installation.
pub(super) fn trash_missing() -> Refusal {
    Refusal::no("SERVERBUG", "This inbox has no Trash, tell the administrator")
}
