//! The report that a message has arrived in mailboxes of ours, for a sender who asked for it: part
//! of the transaction that delivers the message, so that there is never one without the other.
//! RFC 3461 §5.2.3

use super::report::{Reporter, Subject};
use super::{Content, Envelope, Local, queueing, trace};
use crate::mail::account::Account;
use crate::outbound::report::{Affected, Extent, HEADER_BYTES_MAX, Original};
use crate::outbound::schedule::{Action, Moment};
use crate::smtp::client::Told;
use crate::store::StoreError;
use crate::store::change::{Change, NewMessage};
use crate::store::queue::QueuedRecipient;

/// Who is to be reported on, and to whom.
pub(super) struct Wanted<'a> {
    /// Whose delivery the sender wants to hear of.
    pub(super) recipients: &'a [QueuedRecipient],
    /// Whose mailbox it goes into; `None`: to the reverse-path.
    pub(super) sender: Option<&'a Account>,
    /// The same for a retry after a lost 250: it is told once.
    pub(super) duplicate_key: Option<[u8; 32]>,
}

/// One report on all of them; nothing where nobody is to be told.
pub(super) async fn changes(
    local: &Local<'_>,
    envelope: &Envelope,
    content: Content<'_>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Change>, StoreError> {
    if wanted.recipients.is_empty() || envelope.transaction.reverse_path.is_none() {
        return Ok(Vec::new());
    }
    let body = envelope.transaction.parameters.body.unwrap_or_default();
    let queued = queueing::queued_envelope(envelope, wanted.sender.cloned(), body);
    let received = trace::received(envelope, None).into_bytes();
    let size_bytes = received.len() as u64 + content.message.bytes.len();
    let subject = Subject {
        envelope: &queued,
        size_bytes,
        original: &original([&received, content.head].concat()),
        duplicate_key: wanted.duplicate_key,
    };
    let reporter = Reporter {
        store: local.store,
        directory: local.directory,
        hostname: &envelope.hostname,
        lifetime_secs: envelope.lifetime_secs,
        moment: Moment { now: envelope.received_at, entropy: entropy(envelope, content.message) },
    };
    let told = Told {
        by: String::new(),
        status: "2.0.0".into(),
        text: "delivered to the mailbox".into(),
        is_reply: false,
        dsn: false,
    };
    let affected: Vec<Affected<'_>> =
        wanted.recipients.iter().map(|recipient| Affected { recipient, told: &told }).collect();
    reporter.changes(&subject, Action::Delivered, &affected).await
}

/// The key of a report on relayed mail: by the recipients named, as each of them has one of its own
/// for the message.
pub(super) fn duplicate_key(envelope: &Envelope, message: &NewMessage) -> Option<[u8; 32]> {
    let mut place = b"delivered".to_vec();
    for recipient in &envelope.transaction.recipients {
        place.push(0);
        place.extend(format!("{:?}", recipient.path).into_bytes());
    }
    Some(super::duplicate_key(&envelope.transaction, &place, message))
}

/// Only a report of a failure returns the whole. RFC 3461 §6.2
fn original(mut bytes: Vec<u8>) -> Original {
    bytes.truncate(usize::try_from(HEADER_BYTES_MAX).unwrap_or(usize::MAX));
    Original::new(bytes, Extent::Head)
}

/// What tells this report from others, for there is no randomness here.
fn entropy(envelope: &Envelope, message: &NewMessage) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(envelope.id.as_bytes()).update(&message.hash);
    let hash = hasher.finalize();
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
