//! From a user's submitted message to one store transaction: who it leaves as, what its header
//! becomes, the shared copy in Sent, the marks on what it answers, local instances, the queue entry
//! for everybody else. RFC 6409
//!
//! Two steps, because the header is signed in between: `plan` decides and changes nothing,
//! `submit` commits. When `submit` answers, everything is durable. Knows no socket.

mod answer;
mod claim;
mod filing;
pub mod header;
mod mentioned;
mod named;
mod note;
mod sender;

use std::sync::Arc;

use crate::conversation::collision::Desk;
use crate::directory::Directory;
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::mail::message::Parsed;
use crate::smtp::Reply;
use crate::smtp::path::Path;
use crate::store::Store;
use crate::store::audit::Presence;
use answer::Guard;
pub use filing::{Outgoing, submit};

use super::{Content, Envelope, Refused};

/// Addresses that a refusal names; there may be more.
const ADDRESSES_TOLD_MAX: usize = 20;

/// Who submits, and what is known of the world.
#[derive(Clone, Copy)]
pub struct Submitter<'a> {
    /// Where mail is kept.
    pub store: &'a dyn Store,
    /// What is declared.
    pub directory: &'a Directory,
    /// Who has logged in.
    pub user: &'a Login,
    /// In which session.
    pub presence: &'a Arc<Presence>,
    /// Where colleagues who answer the same mail meet.
    pub desk: &'a Desk,
}

/// What is to be done with a submitted message.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In whose Sent it is filed, and who is told of failures.
    account: Account,
    /// MAIL FROM as it leaves.
    reverse_path: Option<Address>,
    /// The header as it leaves, if it is not the one that came.
    pub header: Option<Vec<u8>>,
    /// Who signs: the domain of the author's address.
    pub domain: String,
    referred: answer::Referred,
    /// The inboxes in which it is a note.
    notes: Vec<Account>,
    /// The same for a retry after a lost 250.
    duplicate_key: Option<[u8; 32]>,
}

/// Whether `user` may name this reverse-path. The null one is allowed: receipts have it.
pub fn check_reverse_path(directory: &Directory, user: &Login, path: &Path) -> Result<(), Reply> {
    match path {
        Path::Null => Ok(()),
        Path::Address(address) if !directory.sends_as(user, address).is_empty() => Ok(()),
        Path::Address(_) | Path::Postmaster => Err(not_yours(directory, user)),
    }
}

/// Decides what becomes of a message, or why it is refused.
pub async fn plan(
    by: &Submitter<'_>,
    envelope: &Envelope,
    content: Content<'_>,
) -> Result<Plan, Refused> {
    let parsed = &*content.message.parsed;
    let header = whole_header(content, parsed)?;
    let (author, accounts) = sender::author(by, header, &parsed.envelope)?;
    let referred = answer::referred(by, parsed).await?;
    let mut reverse_path = envelope.transaction.reverse_path.clone();
    let is_personal = accounts.iter().all(|account| matches!(account, Account::User(_)));
    let notes = note::inboxes(by, envelope, (content, header)).await?;
    let guard =
        if is_personal && notes.is_empty() { referred.guard(by).await? } else { Guard::Free };
    let (account, from) = match guard {
        Guard::Free => (sender::account(&accounts, &referred), None),
        Guard::Rewrite(account, address) => {
            reverse_path = reverse_path.map(|_| address.clone());
            (account, Some(address))
        }
        Guard::Reject(address) => return Err(Refused::Policy(answer_as(&address))),
        Guard::RejectReader => return Err(Refused::Policy(not_yours_to_answer())),
    };
    let message_id = format!("{}@{}", envelope.id, envelope.hostname);
    let wanted =
        header::Wanted { date: envelope.received_at, message_id: &message_id, from: from.as_ref() };
    Ok(Plan {
        account,
        reverse_path,
        header: header::edited(header, &parsed.envelope, &wanted),
        domain: from.as_ref().unwrap_or(&author).domain().to_owned(),
        referred,
        notes,
        duplicate_key: filing::duplicate_key(by.user, envelope, content.message),
    })
}

/// The header with its empty line; it must fit into what is at hand.
fn whole_header<'a>(content: Content<'a>, parsed: &Parsed) -> Result<&'a [u8], Refused> {
    let end = usize::try_from(parsed.structure.body_start).ok();
    end.and_then(|end| content.head.get(..end)).ok_or_else(|| {
        let text = "The header is too long: 64 KiB are the most";
        Refused::Policy(Reply::new(554, "5.6.0", text))
    })
}

/// Names the addresses that the user may send from.
fn not_yours(directory: &Directory, user: &Login) -> Reply {
    let addresses = directory.sender_addresses(user);
    let told: Vec<String> =
        addresses.iter().take(ADDRESSES_TOLD_MAX).map(Address::to_string).collect();
    let text = match (told.is_empty(), addresses.len() > told.len()) {
        (true, _) => "You have no address to send from; the administrator can give you one".into(),
        (false, false) => format!("You may send as {}", told.join(", ")),
        (false, true) => format!("You may send as {} and others", told.join(", ")),
    };
    Reply::new(550, "5.7.1", text)
}

fn answer_as(address: &Address) -> Reply {
    Reply::new(550, "5.7.1", format!("This mail belongs to {address}; answer it from {address}"))
}

fn not_yours_to_answer() -> Reply {
    let text = "You may read this mail, but not answer it; those who work in its inbox can";
    Reply::new(550, "5.7.1", text)
}
