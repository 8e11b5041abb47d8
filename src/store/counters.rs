//! The numbers that a store gives. Each is given once.

use serde::{Deserialize, Serialize};

use crate::mail::id::{BlobId, MailboxId, QueueId, ThreadId, Timestamp, TraceId, UidValidity};

/// More of anything than comes between two backups; a segment of the text index may span hundreds.
const LEAP: i64 = 1 << 24;

/// The last number given of each kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Of mailboxes.
    pub mailbox: i64,
    /// Of stored messages.
    pub blob: i64,
    /// Of trace fields.
    pub trace: i64,
    /// Of threads.
    pub thread: i64,
    /// Of queued messages.
    pub queue: i64,
    /// Of epochs.
    pub uid_validity: u32,
}

impl Counters {
    /// The number of a new mailbox.
    pub fn next_mailbox(&mut self) -> MailboxId {
        self.mailbox += 1;
        MailboxId(self.mailbox)
    }

    /// The number of a new message.
    pub fn next_blob(&mut self) -> BlobId {
        self.blob += 1;
        BlobId(self.blob)
    }

    /// The number of new trace fields.
    pub fn next_trace(&mut self) -> TraceId {
        self.trace += 1;
        TraceId(self.trace)
    }

    /// The number of a new thread.
    pub fn next_thread(&mut self) -> ThreadId {
        self.thread += 1;
        ThreadId(self.thread)
    }

    /// The number of a new queued message.
    pub fn next_queue(&mut self) -> QueueId {
        self.queue += 1;
        QueueId(self.queue)
    }

    /// Goes on far above all numbers that may have been given since a backup was made: clients know
    /// messages, threads and mailboxes by them. RFC 8474 §4.1, §5.1
    pub fn leap(&mut self) {
        let numbers = [&mut self.mailbox, &mut self.blob, &mut self.trace, &mut self.thread];
        numbers.into_iter().for_each(|last| *last += LEAP);
        self.queue += LEAP;
    }

    /// A new epoch: above all before, and not below the clock, so that a store that was lost and
    /// made anew does not repeat one. RFC 3501 §2.3.1.1
    pub fn next_uid_validity(&mut self, now: Timestamp) -> UidValidity {
        let clock = u32::try_from(now.seconds().max(1)).unwrap_or(u32::MAX);
        self.uid_validity = clock.max(self.uid_validity.saturating_add(1));
        UidValidity(self.uid_validity)
    }
}
