//! Layer 3: from an accepted message to one store transaction: who gets an instance, with which
//! trace fields, and what the client is told. Knows no socket and no SMTP syntax.
//!
//! The message is stored once as it came; each mailbox gets an instance with trace fields of its
//! own. A retry after a lost 250 is recognised by envelope and content and makes no second
//! instance.

mod acknowledgement;
pub mod loops;
mod queueing;
mod receipt;
pub mod recipient;
pub mod report;
pub mod submission;
pub mod trace;

use std::net::IpAddr;
use std::sync::Arc;

use crate::conversation::placing::{self, Placing};
use crate::conversation::routing::Facts;
use crate::conversation::{Scope, State, note, thread};
use crate::directory::Directory;
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::id::{MailboxId, QueueId, Timestamp};
use crate::outbound::dkim::SigningKey;
use crate::smtp::{Client, Reply, Transaction};
use crate::store::change::{Actor, Change, Delivered, NewMessage, Outcome, Receipt};
use crate::store::queue::QueuedRecipient;
use crate::store::{Store, StoreError, change};

/// With so many messages in the queue, strangers get no reports of success and no acknowledgements:
/// whoever asks for them chooses how many there are, and to whom they go.
pub const QUEUED_WITH_COURTESIES_MAX: usize = 10_000;
/// How often a commit is tried when a mailbox vanishes between look-up and commit.
const ATTEMPTS_MAX: usize = 2;
/// How often a turn is looked for that somebody else takes first; then nobody gets the
/// conversation. Each time somebody else goes on, so that this many must come at once.
const TURNS_MAX: usize = 1_000;

/// Where delivery works.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Where mail is kept.
    pub store: &'a dyn Store,
    /// What is declared.
    pub directory: &'a Directory,
    /// Who signs what the daemon itself sends to customers.
    pub keys: &'a dyn Keys,
}

/// The keys that sign outgoing mail.
pub trait Keys: Send + Sync {
    /// Those of a domain in lower case; `None` when it does not sign.
    fn of(&self, domain: &str) -> Option<Arc<[SigningKey]>>;
}

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
    site: &Site<'_>,
    envelope: &Envelope,
    content: Content<'_>,
) -> Result<Accepted, Refused> {
    let Site { store, directory, .. } = *site;
    let recipients = recipient::recipients(directory, envelope)?;
    if loops::is_loop(content.head, recipients.addresses.iter()) {
        return Err(Refused::Loop);
    }
    let mut tries = Tries::default();
    loop {
        let local = Local { store, directory, placed: tries.placed, notes: &[] };
        let Instances { mut changes, begun } =
            instances(&local, &recipients.local, envelope, content.message).await?;
        changes.extend(relayed(envelope, &recipients.queued, content.message));
        let (count, is_ordered) = (changes.len(), is_ordered(&changes));
        let receipt = receipt::Wanted {
            recipients: &recipients.told,
            sender: None,
            duplicate_key: receipt::duplicate_key(envelope, content.message),
        };
        if tries.courtesy == Courtesy::Shown && has_room_for_courtesies(store) {
            changes.extend(receipt::changes(&local, envelope, content, &receipt).await?);
            for account in &begun {
                let told = (account, content.message);
                changes.extend(acknowledgement::changes(site, envelope, told).await?);
            }
        }
        let is_courteous = changes.len() > count;
        let transaction = change::Transaction { actor: Actor::Delivery, changes };
        match store.commit(transaction).await {
            Err(error) if tries.again(&error, (is_ordered, is_courteous)) => {}
            answer => return Ok(accepted(&answer?, count)),
        }
    }
}

/// Whether strangers may be told anything: that needs room in the queue, which is for our users'
/// own mail above all.
fn has_room_for_courtesies(store: &dyn Store) -> bool {
    let queued = store.queued_from(QueueId(i64::MIN), QUEUED_WITH_COURTESIES_MAX);
    queued.len() < QUEUED_WITH_COURTESIES_MAX
}

/// How a transaction is made, after earlier ones have failed.
#[derive(Default)]
struct Tries {
    vanished: usize,
    outrun: usize,
    placed: Placed,
    courtesy: Courtesy,
}

impl Tries {
    /// Whether another one may succeed where one failed by `error`, which moved or marked
    /// conversations, or told a customer.
    fn again(&mut self, error: &StoreError, (is_ordered, is_courteous): (bool, bool)) -> bool {
        let by_conversation = self.placed == Placed::ByConversation;
        match error {
            StoreError::Gone => {
                self.vanished += 1;
                return self.vanished < ATTEMPTS_MAX;
            }
            StoreError::Outrun if self.outrun < TURNS_MAX => self.outrun += 1,
            StoreError::Outrun if by_conversation => self.placed = Placed::Open,
            // a queue that is full takes the message itself
            StoreError::Limit(_) if is_courteous => self.courtesy = Courtesy::LeftOut,
            // its folder can take no more keywords, say: mail comes before order
            StoreError::Limit(_) if is_ordered && by_conversation => self.placed = Placed::Open,
            _ => return false,
        }
        true
    }
}

/// Whether a transaction also moves or marks conversations.
fn is_ordered(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Delivered(delivered) => !delivered.flags.keywords.is_empty(),
        change => matches!(change, Change::Moved(_)),
    })
}

/// Whether the senders of new conversations are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Courtesy {
    #[default]
    Shown,
    LeftOut,
}

/// Where mail for an inbox goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Placed {
    /// To whoever has its conversation.
    #[default]
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
        (envelope, address, message): (&Envelope, &Address, &NewMessage),
    ) -> Result<Placing, StoreError> {
        let scope = Scope { store: self.store, directory: self.directory, account };
        let header = &message.parsed.envelope;
        let is_note = self.notes.contains(account);
        let open = match self.placed {
            Placed::ByConversation if is_note => return note::place(&scope, root, header).await,
            Placed::ByConversation if !matches!(account, Account::User(_)) => {
                let reverse_path = envelope.transaction.reverse_path.as_ref();
                let detail = self.directory.detail(account, address);
                let facts = Facts::new(&message.parsed, reverse_path, detail);
                return placing::place(&scope, root, (header, &facts)).await;
            }
            Placed::Open if is_note => note::beside(&State::Open, root),
            Placed::ByConversation | Placed::Open => Placing::open(root),
        };
        Ok(Placing { thread: thread::id(&scope, header).await?, ..open })
    }
}

/// What brings a message into mailboxes of ours.
struct Instances {
    changes: Vec<Change>,
    /// Where it begins a conversation.
    begun: Vec<Account>,
}

/// An instance for each target, and what becomes of the conversations that they continue.
async fn instances(
    local: &Local<'_>,
    targets: &[(Account, Address)],
    envelope: &Envelope,
    message: &NewMessage,
) -> Result<Instances, StoreError> {
    let (mut changes, mut begun) = (Vec::with_capacity(targets.len()), Vec::new());
    for (account, address) in targets {
        let root = mailbox(local.store, account, &Folder::root()).await?;
        let placing = local.place((account, root), (envelope, address, message)).await?;
        if placing.is_new {
            begun.push(account.clone());
        }
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
    Ok(Instances { changes, begun })
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
