//! The queue entry of a message that other servers have to take. RFC 5321 §4.5.4.1

use super::{Envelope, trace};
use crate::mail::account::Account;
use crate::mail::id::Timestamp;
use crate::mail::transport::Body;
use crate::store::change::{Change, NewMessage};
use crate::store::queue::{NewQueued, QueuedEnvelope, QueuedRecipient};

/// What a queue entry is beside its envelope.
pub(super) struct Onward {
    /// Whose mailbox reports go into.
    pub(super) sender: Option<Account>,
    /// Fields that go in front of our Received: signatures.
    pub(super) header: Vec<u8>,
    /// What the content holds.
    pub(super) body: Body,
    /// The same for a retry after a lost 250.
    pub(super) duplicate_key: Option<[u8; 32]>,
}

/// The entry for these recipients; none for nobody.
pub(super) fn entry(
    envelope: &Envelope,
    recipients: &[QueuedRecipient],
    message: &NewMessage,
    onward: Onward,
) -> Option<Change> {
    let only = match recipients {
        [] => return None,
        [only] => Some(&only.address),
        _ => None,
    };
    let received = trace::received(envelope, only);
    Some(Change::Queued(Box::new(NewQueued {
        message: message.clone(),
        trace: [&onward.header[..], received.as_bytes()].concat(),
        envelope: queued_envelope(envelope, onward.sender, onward.body),
        recipients: recipients.to_vec(),
        duplicate_key: onward.duplicate_key,
    })))
}

/// An envelope as the queue and reports know it.
pub(super) fn queued_envelope(
    envelope: &Envelope,
    sender: Option<Account>,
    body: Body,
) -> QueuedEnvelope {
    let lifetime = envelope.lifetime_secs.saturating_mul(1_000_000);
    let parameters = &envelope.transaction.parameters;
    QueuedEnvelope {
        id: envelope.id.clone(),
        reverse_path: envelope.transaction.reverse_path.clone(),
        sender,
        envid: parameters.envid.clone(),
        ret: parameters.ret,
        body,
        smtputf8: parameters.smtputf8,
        queued_at: envelope.received_at,
        expires_at: Timestamp(envelope.received_at.0.saturating_add(lifetime)),
    }
}
