//! Search keys as a tree. Sequence sets are resolved and text is folded when a key is made, so that
//! a test on a message is a comparison. RFC 3501 §6.4.4

use super::fuzzy::{Like, Near};
use crate::imap::date::Day;
use crate::imap::object_id::Sought;
use crate::imap::view::{Selection, View};
use crate::mail::flag::SystemFlags;
use crate::mail::id::ModSeq;
use crate::mail::uid_set::UidSet;

/// Deepest nesting of NOT, OR and parentheses.
pub const DEPTH_MAX: usize = 32;
/// Most keys in one SEARCH.
pub const KEYS_MAX: usize = 256;

/// One search key.
#[derive(Clone, PartialEq, Debug)]
pub enum Key {
    /// Every message.
    All,
    /// Sequence numbers.
    Messages(Selection),
    /// UID, or what was saved.
    Uids(UidSet),
    /// All of these system flags are set.
    Flags(SystemFlags),
    /// The keyword with this number is set; `None`: the mailbox does not know it.
    Keyword(Option<u8>),
    /// \Recent
    Recent,
    /// INTERNALDATE
    Internal(When, Day),
    /// SAVEDATE. RFC 8514 §4.3
    Saved(When, Day),
    /// INTERNALDATE is this moment, in seconds, or earlier. RFC 5032 §2
    Older(i64),
    /// INTERNALDATE is this moment, in seconds, or later. RFC 5032 §2
    Younger(i64),
    /// EMAILID; `None`: no message of ours can have it. RFC 8474 §6
    EmailId(Option<Sought>),
    /// THREADID. RFC 8474 §6
    ThreadId(Option<Sought>),
    /// Date: in its own zone.
    Sent(When, Day),
    /// More bytes than this.
    Larger(u64),
    /// Fewer bytes than this.
    Smaller(u64),
    /// A field with this folded name has this folded text in it; empty text: the field exists.
    Header {
        /// `SUBJECT`
        name: String,
        /// What is looked for.
        text: String,
    },
    /// The folded text is in the body.
    Body(String),
    /// The folded text is in header or body.
    Text(String),
    /// Changed at this or later. RFC 7162 §3.1.5
    ModSeq(ModSeq),
    /// Something like a word is there; stands in FUZZY only.
    Like(Like),
    /// A day or size is near; stands in FUZZY only.
    Near(Near),
    /// What FUZZY has made of a key. RFC 6203 §3
    Fuzzy(Box<Key>),
    /// Not this one.
    Not(Box<Key>),
    /// One of the two.
    Or(Box<(Key, Key)>),
    /// All of these.
    And(Vec<Key>),
}

/// How a day is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Earlier.
    Before,
    /// The same day.
    On,
    /// The same day or later.
    Since,
}

impl When {
    /// Whether `day` is so with regard to `limit`.
    pub fn holds(self, day: Day, limit: Day) -> bool {
        match self {
            When::Before => day < limit,
            When::On => day == limit,
            When::Since => day >= limit,
        }
    }
}

impl Key {
    /// Not `self`.
    pub fn negated(self) -> Key {
        Key::Not(Box::new(self))
    }

    /// The same without sequence numbers, which mean what they mean now. RFC 5267 §4.3
    pub fn lasting(self, view: &View) -> Key {
        match self {
            Key::Messages(selection) => Key::Uids(view.uids(&selection)),
            Key::Not(key) => key.lasting(view).negated(),
            Key::Fuzzy(key) => Key::Fuzzy(Box::new(key.lasting(view))),
            Key::Or(keys) => {
                let (one, other) = *keys;
                Key::Or(Box::new((one.lasting(view), other.lasting(view))))
            }
            Key::And(keys) => Key::And(keys.into_iter().map(|key| key.lasting(view)).collect()),
            key => key,
        }
    }

    /// Whether FUZZY stands in it.
    pub fn is_fuzzy(&self) -> bool {
        self.any(&|key| matches!(key, Key::Fuzzy(_)))
    }

    /// Whether `test` holds for this key or any key in it.
    pub fn any(&self, test: &impl Fn(&Key) -> bool) -> bool {
        test(self)
            || match self {
                Key::Not(key) | Key::Fuzzy(key) => key.any(test),
                Key::Or(keys) => keys.0.any(test) || keys.1.any(test),
                Key::And(keys) => keys.iter().any(|key| key.any(test)),
                _ => false,
            }
    }
}
