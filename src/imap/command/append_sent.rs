//! The copy of a sent message that a mail program files itself, behind a submission that has filed
//! one already. What is there is not stored twice. Knows no submission: it compares what is stored.

use super::Call;
use crate::directory::rights;
use crate::imap::names::Resolved;
use crate::imap::{Completion, OwnCopies, Refusal};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::id::MailboxId;
use crate::store::change::{Change, NewMessage, Outcome, Transfer};
use crate::store::{Instance, Mailbox, twin};

/// The answer to an APPEND into a Sent, where the message is in this or in an inbox's Sent already;
/// `None`: it is new, or this is no Sent. Behind it nothing has to be stored any more.
pub(super) async fn filed(
    call: &Call<'_, '_>,
    (target, to): (&Resolved, MailboxId),
    message: &NewMessage,
) -> Result<Option<Completion>, Refusal> {
    if !is_sent(&target.folder) {
        return Ok(None);
    }
    let twins = twin::twins(&*call.context.store, &message.parsed).await?;
    if let Some(here) = twins.iter().find(|instance| instance.mailbox == to)
        && let Some(mailbox) = call.context.store.mailbox(to)
    {
        let code = format!("APPENDUID {} {}", mailbox.uid_validity.0, here.uid.0);
        return Ok(Some(Completion::with_code(code, "It was filed when it was sent")));
    }
    let shared = twins.iter().find_map(|instance| {
        let mailbox = call.context.store.mailbox(instance.mailbox)?;
        is_shared_sent(call, &mailbox).then(|| (instance.clone(), mailbox.account.clone()))
    });
    match (shared, call.context.own_copies) {
        (None, _) => Ok(None),
        (Some(_), OwnCopies::LeaveOut) => {
            Ok(Some(Completion::ok("It was filed in the inbox's Sent when it was sent")))
        }
        (Some((instance, account)), OwnCopies::Keep) => {
            copied(call, (&instance, &account), (target, to)).await
        }
    }
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
    (target, to): (&Resolved, MailboxId),
) -> Result<Option<Completion>, Refusal> {
    let transfer = Transfer {
        from: instance.mailbox,
        from_seen: crate::imap::seen_mode(&call.session.directory, account),
        uids: [instance.uid].into_iter().collect(),
        to,
        to_seen: target.seen,
        user: call.session.user.clone(),
    };
    let receipt = call.commit(vec![Change::Copied(transfer)]).await?;
    match receipt.outcomes.first() {
        Some(Outcome::Copied { uid_validity, pairs }) => Ok(pairs.first().map(|(_, uid)| {
            let code = format!("APPENDUID {} {}", uid_validity.0, uid.0);
            Completion::with_code(code, "Appended")
        })),
        _ => Ok(None),
    }
}
