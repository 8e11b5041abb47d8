//! Layer 3: from an accepted message to one store transaction: who gets an instance, with which
//! trace fields, and what the client is told. Knows no socket and no SMTP syntax.
//!
//! The message is stored once as it came; each mailbox gets an instance with trace fields of its
//! own. A retry after a lost 250 is recognised by envelope and content and makes no second
//! instance.

pub mod loops;
pub mod recipient;
pub mod trace;

use std::collections::HashSet;
use std::net::IpAddr;

use crate::directory::Directory;
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::flag::FlagList;
use crate::mail::id::{MailboxId, Timestamp};
use crate::smtp::{Client, Reply, Transaction};
use crate::store::change::{Actor, Change, Delivered, NewMessage, Outcome, Receipt};
use crate::store::{Store, StoreError, change};
use recipient::Resolution;

/// How often a commit is tried when a mailbox vanishes between look-up and commit.
const ATTEMPTS_MAX: usize = 2;

/// All that is known of a message beside its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// What MAIL and RCPT said.
    pub transaction: Transaction,
    /// How the client introduced itself.
    pub client: Client,
    /// Where it connected from.
    pub client_address: IpAddr,
    /// Whether it came under TLS.
    pub protection: Protection,
    /// Our name.
    pub hostname: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Names it in the log, in Received and in the answer.
    pub id: String,
}

/// Whether a message came under TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// It did.
    Tls,
    /// It did not.
    None,
}

/// A message's content.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// To be stored.
    pub message: &'a NewMessage,
    /// Its first bytes: all of the header that is looked at.
    pub head: &'a [u8],
}

/// What became of an accepted message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// New instances.
    pub instances: usize,
    /// Mailboxes that had it already.
    pub duplicates: usize,
}

/// Why a message is not accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It has been here before, or everywhere.
    Loop,
    /// A recipient that was accepted has gone from the directory since.
    RecipientGone,
    /// A mailbox can take no more.
    Full(&'static str),
    /// The disk can take no more; the text is for the log.
    NoSpace(String),
    /// The store cannot work at the moment; the text is for the log.
    Unavailable(String),
}

impl From<&Refused> for Reply {
    fn from(refused: &Refused) -> Reply {
        match refused {
            Refused::Loop => Reply::new(554, "5.4.6", "Routing loop detected"),
            Refused::RecipientGone => Reply::new(451, "4.2.1", "A recipient has gone, try again"),
            Refused::Full(_) | Refused::NoSpace(_) => {
                Reply::new(452, "4.3.1", "No room at the moment, try again later")
            }
            Refused::Unavailable(_) => Reply::new(451, "4.3.0", "Try again later"),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        match error {
            StoreError::Limit(what) => Refused::Full(what),
            StoreError::NoSpace(why) => Refused::NoSpace(why),
            other => Refused::Unavailable(other.to_string()),
        }
    }
}

/// Puts a message into the mailboxes of all its recipients, in one transaction. When it answers
/// `Accepted`, everything is durable.
pub async fn deliver(
    store: &dyn Store,
    directory: &Directory,
    envelope: &Envelope,
    content: Content<'_>,
) -> Result<Accepted, Refused> {
    let recipients = recipients(directory, envelope)?;
    if loops::is_loop(content.head, recipients.iter().map(|(address, _)| address)) {
        return Err(Refused::Loop);
    }
    let targets = targets(recipients);
    let mut attempts = 1;
    loop {
        let changes = changes(store, &targets, envelope, content.message).await?;
        let transaction = change::Transaction { actor: Actor::Delivery, changes };
        match store.commit(transaction).await {
            Err(StoreError::Gone) if attempts < ATTEMPTS_MAX => attempts += 1,
            answer => return Ok(accepted(&answer?)),
        }
    }
}

/// What each recipient means by now.
fn recipients(
    directory: &Directory,
    envelope: &Envelope,
) -> Result<Vec<(Address, Vec<Account>)>, Refused> {
    let recipients = envelope.transaction.recipients.iter();
    recipients
        .map(|recipient| match recipient::resolve(directory, &recipient.path) {
            Resolution::Local(address, accounts) => Ok((address, accounts)),
            Resolution::Unknown | Resolution::Foreign => Err(Refused::RecipientGone),
        })
        .collect()
}

/// Each account once, with the first address by which it was reached.
fn targets(recipients: Vec<(Address, Vec<Account>)>) -> Vec<(Account, Address)> {
    let mut seen = HashSet::new();
    let all = recipients.into_iter().flat_map(|(address, accounts)| {
        accounts.into_iter().map(move |account| (account, address.clone()))
    });
    all.filter(|(account, _)| seen.insert(account.clone())).collect()
}

async fn changes(
    store: &dyn Store,
    targets: &[(Account, Address)],
    envelope: &Envelope,
    message: &NewMessage,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::with_capacity(targets.len());
    for (account, address) in targets {
        let mailbox = root(store, account).await?;
        changes.push(Change::Delivered(Box::new(Delivered {
            mailbox,
            message: message.clone(),
            trace: trace::fields(envelope, address),
            flags: FlagList::default(),
            seen_by: None,
            internal_date: envelope.received_at,
            duplicate_key: Some(duplicate_key(&envelope.transaction, mailbox, message)),
        })));
    }
    Ok(changes)
}

/// The account's own mailbox; made when it does not exist yet.
async fn root(store: &dyn Store, account: &Account) -> Result<MailboxId, StoreError> {
    let find = || store.find(account, &Folder::root()).map(|mailbox| mailbox.id);
    if let Some(id) = find() {
        return Ok(id);
    }
    let created = Change::MailboxCreated { account: account.clone(), folder: Folder::root() };
    let transaction = change::Transaction { actor: Actor::System, changes: vec![created] };
    match store.commit(transaction).await {
        Ok(_) | Err(StoreError::Exists) => find().ok_or(StoreError::Gone),
        Err(error) => Err(error),
    }
}

/// The same for the same envelope and content, whenever it comes. Each piece is preceded by its
/// length, so that no two envelopes look alike.
fn duplicate_key(transaction: &Transaction, mailbox: MailboxId, message: &NewMessage) -> [u8; 32] {
    let sender = transaction.reverse_path.as_ref().map(Address::to_string).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(sender.len() as u64).to_le_bytes());
    hasher.update(sender.as_bytes());
    hasher.update(&mailbox.0.to_le_bytes());
    hasher.update(&message.hash);
    *hasher.finalize().as_bytes()
}

fn accepted(receipt: &Receipt) -> Accepted {
    let duplicates = receipt.outcomes.iter().filter(|o| **o == Outcome::Duplicate).count();
    Accepted { instances: receipt.outcomes.len() - duplicates, duplicates }
}
