//! Notes among what users submit: in which inboxes a message is one, and that none leaves.

use super::{Submitter, mentioned};
use crate::conversation::{Scope, note};
use crate::delivery::Content as Submitted;
use crate::delivery::recipient::{self, Recipients};
use crate::delivery::{Envelope, Refused};
use crate::mail::account::Account;
use crate::mail::message::Parsed;
use crate::smtp::Reply;
use crate::store::twin;

/// The inboxes in which a message is a note. It is one nowhere if somebody outside gets it too: the
/// inbox then has a copy of an answer.
pub(super) async fn inboxes(
    by: &Submitter<'_>,
    envelope: &Envelope,
    (content, header): (Submitted<'_>, &[u8]),
) -> Result<Vec<Account>, Refused> {
    let message = &*content.message.parsed;
    let recipients = recipient::recipients(by.directory, envelope)?;
    if leaves(&recipients) {
        keep_notes_inside(by, (content, header)).await?;
        return Ok(Vec::new());
    }
    let mut inboxes = Vec::new();
    for (account, _) in recipients.local {
        let scope = Scope { store: by.store, directory: by.directory, account: &account };
        if note::is_note(&scope, by.user, &message.envelope).await? {
            inboxes.push(account);
        }
    }
    if inboxes.is_empty() && !recipients.queued.is_empty() {
        keep_notes_inside(by, (content, header)).await?;
    }
    if !inboxes.is_empty() {
        names_itself_alone(by, message).await?;
    }
    Ok(inboxes)
}

/// Whether anybody gets the message who has no mailbox here. The upstream server's copy of mail for
/// an inbox does not count: there is none of a note.
fn leaves(recipients: &Recipients) -> bool {
    let is_here = |key: String| recipients.addresses.iter().any(|here| here.key() == key);
    recipients.queued.iter().any(|recipient| !is_here(recipient.address.key()))
}

/// Refuses a note with the Message-ID of another message: nobody could answer that one any more.
async fn names_itself_alone(by: &Submitter<'_>, message: &Parsed) -> Result<(), Refused> {
    let Some(id) = message.envelope.bare_message_id() else { return Ok(()) };
    let all = by.store.instances_of(&id).await?;
    let own = twin::twins(by.store, message).await?;
    if all.iter().all(|instance| own.iter().any(|twin| twin.blob == instance.blob)) {
        return Ok(());
    }
    let text = "Another message has this Message-ID; a note needs one of its own";
    Err(Refused::Policy(Reply::new(550, "5.7.1", text)))
}

/// Refuses what answers, forwards or repeats a note.
async fn keep_notes_inside(
    by: &Submitter<'_>,
    (content, header): (Submitted<'_>, &[u8]),
) -> Result<(), Refused> {
    let ids = mentioned::ids(content.message, header)
        .map_err(|e| Refused::Unavailable(format!("reading a submitted message: {e}")))?;
    for id in ids {
        if note::is_known(by.store, &id).await? {
            return Err(Refused::Policy(stays_inside()));
        }
    }
    Ok(())
}

fn stays_inside() -> Reply {
    let text = "This answers or forwards an internal note; notes stay inside. Answer or forward \
                the customer's message instead";
    Reply::new(550, "5.7.1", text)
}
