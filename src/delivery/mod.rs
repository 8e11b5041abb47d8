//! Layer 3: from an accepted message to one store transaction: who gets an instance, with which
//! trace fields, and what the client is told. Knows no socket and no SMTP syntax.
//!
//! The message is stored once as it came; each mailbox gets an instance with trace fields of its
//! own. A retry after a lost 250 is recognised by envelope and content and makes no second
//! instance.

pub mod loops;
mod queueing;
mod receipt;
pub mod recipient;
pub mod report;
pub mod submission;
pub mod trace;

use std::net::IpAddr;

use crate::conversation::placing::{self, Placing};
use crate::conversation::{Scope, State, note, thread};
use crate::directory::Directory;
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::id::{MailboxId, Timestamp};
use crate::smtp::{Client, Reply, Transaction};
use crate::store::change::{Actor, Change, Delivered, NewMessage, Outcome, Receipt};
use crate::store::queue::QueuedRecipient;
use crate::store::{Store, StoreError, change};

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
    /// Whether a server brought it or a user.
    pub origin: Origin,
    /// Recipients of ours whose mail the upstream server of their domain gets as well.
    pub upstream: Vec<Address>,
    /// Given up after so long, where it has to wait for another server.
    pub lifetime_secs: i64,
}

/// Who brought a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Another server, on port 25.
    Relay,
    /// A user who has logged in.
    Submission,
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
    /// Mailboxes, or the queue, that had it already.
    pub duplicates: usize,
    /// Queue entries.
    pub queued: usize,
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
    /// What a user submits breaks a rule; the answer says which and what to do.
    Policy(Reply),
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
            Refused::Policy(reply) => reply.clone(),
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
    let recipients = recipient::recipients(directory, envelope)?;
    if loops::is_loop(content.head, recipients.addresses.iter()) {
        return Err(Refused::Loop);
    }
    let mut attempts = 1;
    let mut placed = Placed::ByConversation;
    loop {
        let local = Local { store, directory, placed, notes: &[] };
        let mut changes = instances(&local, &recipients.local, envelope, content.message).await?;
        changes.extend(relayed(envelope, &recipients.queued, content.message));
        let (count, is_ordered) = (changes.len(), is_ordered(&changes));
        let receipt = receipt::Wanted {
            recipients: &recipients.told,
            sender: None,
            duplicate_key: receipt::duplicate_key(envelope, content.message),
        };
        changes.extend(receipt::changes(&local, envelope, content, &receipt).await?);
        let transaction = change::Transaction { actor: Actor::Delivery, changes };
        match store.commit(transaction).await {
            Err(StoreError::Gone) if attempts < ATTEMPTS_MAX => attempts += 1,
            // its folder can take no more keywords, say: mail comes before order
            Err(StoreError::Limit(_)) if is_ordered && placed == Placed::ByConversation => {
                placed = Placed::Open;
            }
            answer => return Ok(accepted(&answer?, count)),
        }
    }
}

/// Whether a transaction also moves or marks conversations.
fn is_ordered(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Delivered(delivered) => !delivered.flags.keywords.is_empty(),
        change => matches!(change, Change::Moved(_)),
    })
}

/// Where mail for an inbox goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Placed {
    /// To whoever has its conversation.
    ByConversation,
    /// Into the inbox itself.
    Open,
}

/// What delivery into our own mailboxes needs to know.
struct Local<'a> {
    store: &'a dyn Store,
    directory: &'a Directory,
    placed: Placed,
    /// Where the message is a note.
    notes: &'a [Account],
}

impl Local<'_> {
    async fn place(
        &self,
        (account, root): (&Account, MailboxId),
        message: &NewMessage,
    ) -> Result<Placing, StoreError> {
        let scope = Scope { store: self.store, directory: self.directory, account };
        let envelope = &message.parsed.envelope;
        let is_note = self.notes.contains(account);
        let open = match self.placed {
            Placed::ByConversation if is_note => return note::place(&scope, root, envelope).await,
            Placed::ByConversation if !matches!(account, Account::User(_)) => {
                return placing::place(&scope, root, envelope).await;
            }
            Placed::Open if is_note => note::beside(&State::Open, root),
            Placed::ByConversation | Placed::Open => Placing::open(root),
        };
        Ok(Placing { thread: thread::id(&scope, envelope).await?, ..open })
    }
}

/// An instance for each target, and what becomes of the conversations that they continue.
async fn instances(
    local: &Local<'_>,
    targets: &[(Account, Address)],
    envelope: &Envelope,
    message: &NewMessage,
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::with_capacity(targets.len());
    for (account, address) in targets {
        let root = mailbox(local.store, account, &Folder::root()).await?;
        let placing = local.place((account, root), message).await?;
        changes.extend(placing.also);
        changes.push(Change::Delivered(Box::new(Delivered {
            mailbox: placing.mailbox,
            message: message.clone(),
            trace: trace::fields(envelope, address),
            flags: placing.flags,
            seen_by: Vec::new(),
            internal_date: envelope.received_at,
            thread: placing.thread,
            // by the account: a retry may find the conversation elsewhere
            duplicate_key: Some(duplicate_key(
                &envelope.transaction,
                &root.0.to_le_bytes(),
                message,
            )),
        })));
    }
    Ok(changes)
}

/// The queue entry for those whose upstream server keeps their mail; reports go to the sender.
fn relayed(
    envelope: &Envelope,
    recipients: &[QueuedRecipient],
    message: &NewMessage,
) -> Option<Change> {
    let key = recipients.iter().map(|recipient| recipient.address.key()).collect::<Vec<_>>();
    let onward = queueing::Onward {
        sender: None,
        header: Vec::new(),
        body: envelope.transaction.parameters.body.unwrap_or_default(),
        duplicate_key: Some(duplicate_key(
            &envelope.transaction,
            key.join(",").as_bytes(),
            message,
        )),
    };
    queueing::entry(envelope, recipients, message, onward)
}

/// A mailbox of an account that is declared; made when it does not exist yet.
async fn mailbox(
    store: &dyn Store,
    account: &Account,
    folder: &Folder,
) -> Result<MailboxId, StoreError> {
    let find = || store.find(account, folder).map(|mailbox| mailbox.id);
    if let Some(id) = find() {
        return Ok(id);
    }
    let created = Change::MailboxCreated { account: account.clone(), folder: folder.clone() };
    let transaction = change::Transaction { actor: Actor::System, changes: vec![created] };
    match store.commit(transaction).await {
        Ok(_) | Err(StoreError::Exists) => find().ok_or(StoreError::Gone),
        Err(error) => Err(error),
    }
}

/// The same for the same envelope and content, whenever it comes. Each piece is preceded by its
/// length, so that no two envelopes look alike.
fn duplicate_key(transaction: &Transaction, place: &[u8], message: &NewMessage) -> [u8; 32] {
    let sender = transaction.reverse_path.as_ref().map(Address::to_string).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(sender.len() as u64).to_le_bytes());
    hasher.update(sender.as_bytes());
    hasher.update(&(place.len() as u64).to_le_bytes());
    hasher.update(place);
    hasher.update(&message.hash);
    *hasher.finalize().as_bytes()
}

/// What the first `changes` of a transaction came to; the rest are reports on it.
fn accepted(receipt: &Receipt, changes: usize) -> Accepted {
    let outcomes = || receipt.outcomes.iter().take(changes);
    let count = |is: fn(&Outcome) -> bool| outcomes().filter(|o| is(o)).count();
    Accepted {
        instances: count(|outcome| matches!(outcome, Outcome::Stored { .. })),
        duplicates: count(|outcome| *outcome == Outcome::Duplicate),
        queued: count(|outcome| matches!(outcome, Outcome::Queued(_))),
    }
}
