//! Notes among what users submit: in which inboxes a message is one, and that none leaves.

use super::Submitter;
use super::answer::FORWARDED_ID;
use crate::conversation::{Scope, note};
use crate::delivery::recipient::{self, Recipients};
use crate::delivery::{Envelope, Refused};
use crate::mail::account::Account;
use crate::mail::message::{Content, Parsed, Part, message_ids, select_fields};
use crate::smtp::Reply;

/// The inboxes in which a message is a note. It is one nowhere if somebody outside gets it too: the
/// inbox then has a copy of an answer.
pub(super) async fn inboxes(
    by: &Submitter<'_>,
    envelope: &Envelope,
    message: &Parsed,
) -> Result<Vec<Account>, Refused> {
    let recipients = recipient::recipients(by.directory, envelope)?;
    if leaves(&recipients) {
        keep_notes_inside(by, message).await?;
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
        keep_notes_inside(by, message).await?;
    }
    Ok(inboxes)
}

/// Whether anybody gets the message who has no mailbox here. The upstream server's copy of mail for
/// an inbox does not count: there is none of a note.
fn leaves(recipients: &Recipients) -> bool {
    let is_here = |key: String| recipients.addresses.iter().any(|here| here.key() == key);
    recipients.queued.iter().any(|recipient| !is_here(recipient.address.key()))
}

/// Refuses what answers, forwards or repeats a note.
async fn keep_notes_inside(by: &Submitter<'_>, message: &Parsed) -> Result<(), Refused> {
    for id in ids(message) {
        if note::is_known(by.store, &id).await? {
            return Err(Refused::Policy(stays_inside()));
        }
    }
    Ok(())
}

/// All messages that a message names, contains or is.
fn ids(message: &Parsed) -> Vec<String> {
    let envelope = &message.envelope;
    let mut ids = envelope.references.clone();
    ids.extend(envelope.in_reply_to.as_deref().map(message_ids).unwrap_or_default());
    ids.extend(envelope.bare_message_id());
    let mut fields = Vec::new();
    select_fields(&message.fields, &[FORWARDED_ID], &mut fields);
    ids.extend(message_ids(&fields));
    let mut parts: Vec<&Part> = vec![&message.structure];
    while let Some(part) = parts.pop() {
        match &part.content {
            Content::Leaf => {}
            Content::Multipart(inside) => parts.extend(inside),
            Content::Message(envelope, inside) => {
                ids.extend(envelope.bare_message_id());
                parts.push(inside);
            }
        }
    }
    ids
}

fn stays_inside() -> Reply {
    let text = "This answers or forwards an internal note; notes stay inside. Answer or forward \
                the customer's message instead";
    Reply::new(550, "5.7.1", text)
}
