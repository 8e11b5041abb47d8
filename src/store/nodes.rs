//! What several nodes on one store agree by: duties that one of them has, the directory that is in
//! force on all, and what an operator asks of the node that moves the queue. Knows no engine and no
//! time: how long a lease lasts is the engine's, by the database's clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::mail::id::{QueueId, Timestamp};

/// How long a duty is a node's after `Store::lease` has said so, unless it asks again.
pub const LEASE: Duration = Duration::from_secs(10);
/// For how long a failed login counts, from the first one on.
pub const FAILURES_WINDOW: Duration = Duration::from_secs(600);
/// Longest text of a directory that is published: as much as is read from a file.
pub const DIRECTORY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most asks that are kept, the answered ones too.
pub const ASKS_MAX: usize = 100;
/// For how long an ask is kept.
pub const ASK_SECS: i64 = 60;

/// What exactly one node does at a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Duty {
    /// Moves queued messages out.
    Queue,
    /// Retention, the ends of what was opened, what the audit log says of a new directory.
    Upkeep,
    /// Frees what nothing refers to any more.
    Sweeping,
}

impl Duty {
    /// All of them.
    pub const ALL: [Duty; 3] = [Duty::Queue, Duty::Upkeep, Duty::Sweeping];

    /// As tables and the log have it.
    pub fn name(self) -> &'static str {
        match self {
            Duty::Queue => "queue",
            Duty::Upkeep => "upkeep",
            Duty::Sweeping => "sweeping",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Duty> {
        Duty::ALL.into_iter().find(|duty| duty.name() == name)
    }
}

/// Which tenure of a duty is the last one.
pub type Tenures = BTreeMap<Duty, i64>;

/// The directory that is in force on all nodes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// As its file has it.
    pub text: String,
    /// When it was published; the store says so.
    pub at: Timestamp,
    /// By which host.
    pub host: String,
    /// The key of what unknown users are told of their salts. The first publisher's stays: on all
    /// nodes a user has one salt.
    pub salts: [u8; 32],
}

/// It holds passwords' hashes.
impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("at", &self.at).finish_non_exhaustive()
    }
}

/// What is done with queued messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verb {
    /// They are tried now, whatever was found of their destinations. What is held stays so.
    Retry,
    /// They wait, and do not expire.
    Hold,
    /// Those that are held are tried now.
    Release,
    /// They go, and nobody is told.
    Drop,
}

/// Which messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Which {
    /// All of them.
    All,
    /// This one.
    One(QueueId),
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Messages that were there.
    pub messages: usize,
    /// Recipients that were changed.
    pub recipients: usize,
    /// Recipients that are being tried: they are changed when that has ended.
    pub busy: usize,
}

/// What an operator asks one node to have done by the one that has `Duty::Queue`. Not kept in any
/// table: a node that starts, or has lost the thread, does not hear of it, and who asked is told
/// that nobody answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Its name, random.
    pub id: i64,
    /// When; the store says so.
    pub at: Timestamp,
    /// What.
    pub verb: Verb,
    /// With which messages.
    pub which: Which,
    /// What became of it; the error is for the operator.
    pub answer: Option<Result<Done, String>>,
}

/// The asks of the last minute by name.
pub type Asks = Arc<BTreeMap<i64, Ask>>;
