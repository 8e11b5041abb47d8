//! The copy of a sent message that a mail program files itself, behind a submission that has filed
//! one already. What is there is not stored twice. Knows no submission: it compares what is stored.

use super::Call;
use super::append::Pending;
use super::append_data::Settings;
use crate::conversation::{moving, note};
use crate::directory::rights;
use crate::imap::flags::Changeable;
use crate::imap::{Completion, OwnCopies, Refusal};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::flag::{SeenMode, SystemFlags};
use crate::store::change::{Change, FlagOperation, NewMessage, Outcome, Transfer};
use crate::store::{Instance, Mailbox, twin};

/// The answer to an APPEND into a Sent, where the message is in this or in an inbox's Sent already;
/// `None`: it is new, or this is no Sent. Behind it nothing has to be stored any more.
pub(super) async fn filed(
    call: &Call<'_, '_>,
    (pending, settings): (&Pending, &Settings),
    message: &NewMessage,
) -> Result<Option<Completion>, Refusal> {
    if !is_sent(&pending.target.folder) {
        return Ok(None);
    }
    let twins = twin::twins(&*call.context.store, &message.parsed).await?;
    if let Some(here) = twins.iter().find(|instance| instance.mailbox == pending.to)
        && let Some(mailbox) = call.context.store.mailbox(pending.to)
    {
        let code = format!("APPENDUID {} {}", mailbox.uid_validity.0, here.uid.0);
        return Ok(Some(Completion::with_code(code, "It was filed when it was sent")));
    }
    if is_note(call, pending, &twins).await? {
        return Ok(Some(Completion::ok("It is a note, and lies with its conversation")));
    }
    let shared = twins.iter().find_map(|instance| {
        let mailbox = call.context.store.mailbox(instance.mailbox)?;
        is_shared_sent(call, &mailbox).then(|| (*instance, mailbox.account.clone()))
    });
    match (shared, call.context.own_copies) {
        (None, _) => Ok(None),
        (Some(_), OwnCopies::LeaveOut) => {
            Ok(Some(Completion::ok("It was filed in the inbox's Sent when it was sent")))
        }
        (Some((instance, account)), OwnCopies::Keep) => {
            copied(call, (&instance, &account), (pending, settings)).await
        }
    }
}

/// Whether it is in this inbox as a note: that was sent to nobody.
async fn is_note(
    call: &Call<'_, '_>,
    pending: &Pending,
    twins: &[Instance],
) -> Result<bool, Refusal> {
    let store = &*call.context.store;
    for Instance { mailbox, uid, .. } in twins {
        let account = store.mailbox(*mailbox).map(|mailbox| mailbox.account.clone());
        let is_here = account.is_some_and(|account| account == pending.target.account);
        if is_here && note::is_marked(store, *mailbox, *uid).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_sent(folder: &Folder) -> bool {
    *folder == Folder::role(FolderRole::Sent)
}

fn is_shared_sent(call: &Call<'_, '_>, mailbox: &Mailbox) -> bool {
    let rights = rights(&call.session.directory, &call.session.user, &mailbox.account);
    is_sent(&mailbox.folder) && !matches!(mailbox.account, Account::User(_)) && rights.has('r')
}

/// Another instance of the message that is stored; `None` when it has just gone.
async fn copied(
    call: &Call<'_, '_>,
    (instance, account): (&Instance, &Account),
    (pending, settings): (&Pending, &Settings),
) -> Result<Option<Completion>, Refusal> {
    let transfer = Transfer {
        from: instance.mailbox,
        from_seen: crate::imap::seen_mode(&call.session.directory, account),
        uids: [instance.uid].into_iter().collect(),
        to: pending.to,
        to_seen: pending.target.seen,
        user: call.session.user.clone(),
    };
    let changes = vec![Change::Copied(transfer), flagged(call, pending, settings)];
    let receipt = call.commit(changes).await?;
    let Some(Outcome::Copied { uid_validity, pairs }) = receipt.outcomes.first() else {
        return Ok(None);
    };
    let Some((_, uid)) = pairs.first() else { return Ok(None) };
    let code = format!("APPENDUID {} {}", uid_validity.0, uid.0);
    Ok(Some(Completion::with_code(code, "Appended")))
}

/// Sets the flags that the program gave its copy.
fn flagged(call: &Call<'_, '_>, pending: &Pending, settings: &Settings) -> Change {
    let mut flags = Changeable::by(pending.target.rights).among(&settings.flags);
    let (account, folder) = (&pending.target.account, &pending.target.folder);
    flags.keywords = moving::appended(account, folder, flags.keywords);
    let mut seen_by = None;
    if pending.target.seen == SeenMode::PerUser {
        let seen = flags.system.contains(SystemFlags::SEEN);
        seen_by = seen.then(|| call.session.user.clone());
        flags.system = flags.system & !SystemFlags::SEEN;
    }
    let (mailbox, operation) = (pending.to, FlagOperation::Add);
    Change::ArrivalsFlagged { mailbox, operation, flags, seen_by }
}
