//! Flags of one message. Keywords are numbers here; their names are per mailbox
//! (`store::snapshot`).

use std::ops::{BitAnd, BitOr, Not};

use serde::{Deserialize, Serialize};

/// The system flags of one message as bits. RFC 3501 §2.3.2
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SystemFlags(pub u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: SystemFlags = SystemFlags(0);
    /// \Seen; in mailboxes with per-user \Seen this bit stays clear, the overlay holds it.
    pub const SEEN: SystemFlags = SystemFlags(1);
    /// \Answered
    pub const ANSWERED: SystemFlags = SystemFlags(2);
    /// \Flagged
    pub const FLAGGED: SystemFlags = SystemFlags(4);
    /// \Deleted
    pub const DELETED: SystemFlags = SystemFlags(8);
    /// \Draft
    pub const DRAFT: SystemFlags = SystemFlags(16);

    /// Each flag with its name, in the order in which they are written.
    pub const NAMES: [(SystemFlags, &'static str); 5] = [
        (SystemFlags::ANSWERED, "\\Answered"),
        (SystemFlags::FLAGGED, "\\Flagged"),
        (SystemFlags::DELETED, "\\Deleted"),
        (SystemFlags::SEEN, "\\Seen"),
        (SystemFlags::DRAFT, "\\Draft"),
    ];

    /// Whether all bits of `flags` are set.
    pub fn contains(self, flags: SystemFlags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl BitOr for SystemFlags {
    type Output = SystemFlags;
    fn bitor(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }
}

impl BitAnd for SystemFlags {
    type Output = SystemFlags;
    fn bitand(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & other.0)
    }
}

impl Not for SystemFlags {
    type Output = SystemFlags;
    fn not(self) -> SystemFlags {
        SystemFlags(!self.0)
    }
}

/// Most keywords that one mailbox can know.
pub const KEYWORDS_MAX: usize = 256;

/// The keywords of one message: bit n is the mailbox's keyword n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct KeywordSet(pub [u64; 4]);

impl KeywordSet {
    /// Whether keyword `n` is set.
    pub fn contains(&self, n: u8) -> bool {
        self.0[usize::from(n) / 64] >> (n % 64) & 1 == 1
    }

    /// Sets keyword `n`.
    pub fn insert(&mut self, n: u8) {
        self.0[usize::from(n) / 64] |= 1 << (n % 64);
    }

    /// Clears keyword `n`.
    pub fn remove(&mut self, n: u8) {
        self.0[usize::from(n) / 64] &= !(1 << (n % 64));
    }

    /// Whether no keyword is set.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    /// The numbers that are set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=u8::MAX).filter(|n| self.contains(*n))
    }
}

/// Flags as a client names them, before a mailbox has given its keywords numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FlagList {
    /// The system flags named.
    pub system: SystemFlags,
    /// Keyword names as written; compared without regard to ASCII case, each once.
    pub keywords: Vec<String>,
}

/// Whose \Seen a mailbox keeps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum SeenMode {
    /// Each user has their own: the store's overlay holds it.
    #[default]
    PerUser,
    /// One for all, as any other flag; always so in personal mailboxes.
    Shared,
}
