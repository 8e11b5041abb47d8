//! Notes among what users submit: in which inboxes a message is one, and that none leaves.

use super::Submitter;
use crate::conversation::{Scope, note};
use crate::delivery::Content as Submitted;
use crate::delivery::recipient::{self, Recipients};
use crate::delivery::{Envelope, Refused};
use crate::mail::account::Account;
use crate::mail::message::{Content, Envelope as Header, Parsed, Part, message_ids, select_fields};
use crate::smtp::Reply;
use crate::store::twin;

/// The fields in which a message names others and itself.
const NAMING: [&str; 6] = [
    "In-Reply-To",
    "References",
    "Message-ID",
    "Resent-Message-ID",
    super::answer::FORWARDED_ID,
    "Original-Message-ID",
];

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
        keep_notes_inside(by, (message, header)).await?;
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
        keep_notes_inside(by, (message, header)).await?;
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
    (message, header): (&Parsed, &[u8]),
) -> Result<(), Refused> {
    for id in ids(message, header) {
        if note::is_known(by.store, &id).await? {
            return Err(Refused::Policy(stays_inside()));
        }
    }
    Ok(())
}

/// All messages that a message names, contains or is, in whichever of its fields: of fields that
/// should stand there once, readers take different ones.
fn ids(message: &Parsed, header: &[u8]) -> Vec<String> {
    let mut fields = Vec::new();
    select_fields(header, &NAMING, &mut fields);
    let named = fields.split(|byte| *byte == b'<').skip(1);
    let named = named.filter_map(|rest| rest.split(|byte| *byte == b'>').next());
    let whole = |id: &[u8]| {
        let id: Vec<u8> = id.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
        String::from_utf8_lossy(&id).into_owned()
    };
    let mut ids: Vec<String> = named.map(whole).collect();
    ids.extend(envelope_ids(&message.envelope));
    let mut parts: Vec<&Part> = vec![&message.structure];
    while let Some(part) = parts.pop() {
        match &part.content {
            Content::Leaf => {}
            Content::Multipart(inside) => parts.extend(inside),
            Content::Message(envelope, inside) => {
                ids.extend(envelope_ids(envelope));
                parts.push(inside);
            }
        }
    }
    ids
}

/// The messages that an envelope names and is of.
fn envelope_ids(envelope: &Header) -> Vec<String> {
    let mut ids = envelope.references.clone();
    ids.extend(envelope.in_reply_to.as_deref().map(message_ids).unwrap_or_default());
    ids.extend(envelope.bare_message_id());
    ids
}

fn stays_inside() -> Reply {
    let text = "This answers or forwards an internal note; notes stay inside. Answer or forward \
                the customer's message instead";
    Reply::new(550, "5.7.1", text)
}
