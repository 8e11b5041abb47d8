//! Typed numbers. Each is made only where it is assigned; they do not convert into each other.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A message's number in one mailbox, ascending, never used twice. RFC 3501 §2.3.1.1
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Uid(pub u32);

/// The epoch of a mailbox's UIDs. RFC 3501 §2.3.1.1
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct UidValidity(pub u32);

/// A mailbox's modification sequence; below 2^63. RFC 7162 §3.1
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct ModSeq(pub u64);

/// A mailbox in the store; stable over rename.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MailboxId(pub i64);

/// One stored message, whatever the number of its instances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlobId(pub i64);

/// The trace header fields of one instance; `TraceId::NONE` for appended messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TraceId(pub i64);

impl TraceId {
    /// An instance without trace fields: it came by APPEND, not by SMTP.
    pub const NONE: TraceId = TraceId(0);
}

/// Messages that belong together; given once, when a message is stored, and never changed. A
/// negative one is `-BlobId` of a message that was stored before there were threads. RFC 8474 §5.2
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct ThreadId(pub i64);

/// A message on its way out; ascending in the order in which they were accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct QueueId(pub i64);

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// From whole seconds since 1970-01-01T00:00:00Z.
    pub fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000))
    }
}

/// A user's login name, in lower case. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Login(Arc<str>);

impl Login {
    /// Folds `login` to lower case: logins are compared without regard to case.
    pub fn new(login: &str) -> Login {
        Login(login.to_lowercase().into())
    }

    /// The login as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
