//! Messages on their way out: what the store keeps of each, and how one changes. Decides nothing:
//! when to try again and what a reply means is `outbound`'s.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::NewMessage;
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::{BlobId, QueueId, Timestamp, TraceId};
use crate::mail::transport::{Body, Notify, Ret};

/// Most recipients of one queued message.
pub const QUEUED_RECIPIENTS_MAX: usize = 1_000;
/// Most bytes of `Progress::last_reply`; the store cuts longer ones.
pub const LAST_REPLY_BYTES_MAX: usize = 500;
/// Most messages queued at a time: all are held in memory.
pub const QUEUED_MESSAGES_MAX: usize = 100_000;

/// A message to be queued; see `Change::Queued`.
#[derive(Clone, Debug)]
pub struct NewQueued {
    /// What. Stored once, also when the same transaction puts it into a mailbox.
    pub message: NewMessage,
    /// Header fields that go out before the stored bytes, as whole lines with CRLF; may be empty.
    pub trace: Vec<u8>,
    /// What was said when it was accepted.
    pub envelope: QueuedEnvelope,
    /// At least one, at most `QUEUED_RECIPIENTS_MAX`. The store numbers them, 0 for the first.
    pub recipients: Vec<QueuedRecipient>,
    /// As in `Delivered`: the same key may stand at several changes of one transaction.
    pub duplicate_key: Option<[u8; 32]>,
}

/// A message on its way out, with what is known of each recipient.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Queued {
    /// Its number.
    pub id: QueueId,
    /// The stored message.
    pub blob: BlobId,
    /// Header fields that go out before the stored bytes (Received, DKIM-Signature); read them by
    /// `Store::trace`.
    pub trace: TraceId,
    /// Bytes of both together.
    pub size_bytes: u64,
    /// What was said when it was accepted.
    pub envelope: Arc<QueuedEnvelope>,
    /// Those that are still to be reached, by number; never empty.
    pub recipients: Vec<QueuedRecipient>,
}

/// What does not change while a message is queued.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueuedEnvelope {
    /// Names it in the log, in Received and in the answer.
    pub id: String,
    /// MAIL FROM; `None` is the null reverse-path, and nobody is told of a failure.
    pub reverse_path: Option<Address>,
    /// Who sent it: reports go into this account's own mailbox. `None`: it was relayed for somebody
    /// else, and reports go to the reverse-path by mail.
    pub sender: Option<Account>,
    /// ENVID, encoded as it came. RFC 3461 §4.4
    pub envid: Option<String>,
    /// RET. RFC 3461 §4.3
    pub ret: Option<Ret>,
    /// What the content holds.
    pub body: Body,
    /// An address or header field holds more than ASCII. RFC 6531
    pub smtputf8: bool,
    /// When it was accepted.
    pub queued_at: Timestamp,
    /// After this it is given up.
    pub expires_at: Timestamp,
}

/// One recipient of a queued message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueuedRecipient {
    /// Its number in this message; stays when others have gone.
    pub number: u32,
    /// RCPT TO
    pub address: Address,
    /// The server that keeps this address (`smtp://host:port`), in a split domain; `None`: by MX
    /// or smarthost.
    pub upstream: Option<String>,
    /// NOTIFY. RFC 3461 §4.1
    pub notify: Option<Notify>,
    /// ORCPT, encoded as it came. RFC 3461 §4.2
    pub orcpt: Option<String>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far the delivery to one recipient has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// How often it was tried.
    pub attempts: u32,
    /// Not to be tried before.
    pub next_attempt: Timestamp,
    /// What the last attempt came to, for the operator and for reports; no content.
    pub last_reply: Option<String>,
    /// The sender has been told of the delay.
    pub delay_told: bool,
    /// An operator holds it back.
    pub held: bool,
    /// It is done with, but for this report on it.
    pub owed: Option<Box<Owed>>,
}

/// What the sender is still to be told of a recipient, because no report could be stored when it
/// was decided: a queue that is full takes none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owed {
    /// What became of it.
    pub outcome: OwedOutcome,
    /// Which server said so; empty when none did.
    pub by: String,
    /// The status code. RFC 3463
    pub status: String,
    /// What was said; the store cuts all three at `LAST_REPLY_BYTES_MAX`.
    pub text: String,
    /// It is a server's reply.
    pub is_reply: bool,
}

/// What became of a recipient whose report is owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OwedOutcome {
    /// It was given up.
    Failed,
    /// A server that will not tell has taken it.
    Relayed,
}

impl Progress {
    /// Not tried yet; due at `now`.
    pub fn new(now: Timestamp) -> Progress {
        Progress {
            attempts: 0,
            next_attempt: now,
            last_reply: None,
            delay_told: false,
            held: false,
            owed: None,
        }
    }
}

/// How a recipient of a queued message changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecipientUpdate {
    /// It stays.
    Waits(Progress),
    /// It is reached or given up, and goes. With the last one the message goes.
    Done,
}
