//! Identifiers that are the same wherever, and under whatever name, a mailbox or message shows up.
//! The numbers by which the store counts are hidden behind its secret: an identifier tells nobody
//! how many messages others have. Knows no command. RFC 8474

use std::fmt;

use super::Refusal;
use super::wire::lex::Cursor;
use crate::mail::id::{Login, MailboxId, ThreadId, TraceId};
use crate::store::Store;
use crate::store::change::{About, Change};
use crate::store::snapshot::Entry;

/// Longest identifier. RFC 8474 §7
const OBJECT_ID_BYTES_MAX: usize = 255;

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a hash that are shown: two of a thousand million are alike once in 10^11 stores.
const HASH_BYTES: usize = 12;

/// Under which entry the store keeps the secret, among the notes of a user whom no login names.
const ENTRY: &str = "object-ids";

/// Makes identifiers: equal ones of equal things, as long as the store keeps its secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ObjectIds([u8; SECRET_BYTES]);

/// What is identified.
#[derive(Clone, Copy)]
enum Kind {
    Mailbox,
    Email,
    Thread,
}

/// One identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectId {
    letter: char,
    hash: [u8; HASH_BYTES],
}

/// An identifier that is looked for, and what makes those that it is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    id: ObjectId,
    ids: ObjectIds,
}

impl ObjectIds {
    /// By a secret.
    pub fn by(secret: [u8; SECRET_BYTES]) -> ObjectIds {
        ObjectIds(secret)
    }

    /// By the secret that the store keeps; `None`: it keeps none yet.
    pub fn of_store(store: &dyn Store) -> Option<ObjectIds> {
        let notes = store.metadata(Some(&nobody()));
        let secret = notes.get(&(None, ENTRY.to_owned()))?;
        Some(ObjectIds((**secret).try_into().ok()?))
    }

    /// The change by which a store keeps it.
    pub fn kept(self) -> Change {
        Change::MetadataSet {
            user: Some(nobody()),
            about: About::Server,
            entry: ENTRY.to_owned(),
            value: Some(self.0.to_vec().into()),
        }
    }

    /// MAILBOXID: stays over a rename. RFC 8474 §4
    pub fn mailbox(self, id: MailboxId) -> ObjectId {
        self.id(Kind::Mailbox, &[id.0])
    }

    /// EMAILID: all instances with one and the same content, which COPY and MOVE make.
    /// RFC 8474 §5.1
    ///
    /// What can be fetched and never changes must be the same, so that one stored message with the
    /// trace fields of two inboxes is two of them, and so is one that was appended with two dates.
    pub fn email(self, entry: &Entry) -> ObjectId {
        match entry.trace {
            TraceId::NONE => {
                let date = entry.internal_date.seconds();
                self.id(Kind::Email, &[entry.blob.0, date, entry.thread.0])
            }
            // trace fields belong to one delivery
            trace => self.id(Kind::Email, &[entry.blob.0, trace.0]),
        }
    }

    /// THREADID. RFC 8474 §5.2
    pub fn thread(self, id: ThreadId) -> ObjectId {
        self.id(Kind::Thread, &[id.0])
    }

    /// One that a client names; `None`: nothing of ours is called so.
    pub fn sought(self, text: &str) -> Option<Sought> {
        Some(Sought { id: ObjectId::parse(text)?, ids: self })
    }

    fn id(self, kind: Kind, numbers: &[i64]) -> ObjectId {
        let letter = match kind {
            Kind::Mailbox => 'f',
            Kind::Email => 'm',
            Kind::Thread => 't',
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[letter as u8]);
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        let mut hash = [0; HASH_BYTES];
        hasher.finalize_xof().fill(&mut hash);
        ObjectId { letter, hash }
    }
}

/// No login has a colon. An empty one is everybody's, in the tables.
fn nobody() -> Login {
    Login::new(":object-ids")
}

impl ObjectId {
    /// Reads what `Display` writes: there is one way to write it.
    fn parse(text: &str) -> Option<ObjectId> {
        let letter = text.chars().next().filter(|letter| letter.is_ascii_lowercase())?;
        let digits = &text.as_bytes()[1..];
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let hash = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?));
        let hash: Vec<u8> = hash.collect::<Option<_>>()?;
        Some(ObjectId { letter, hash: hash.try_into().ok()? })
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 1 + 2 * HASH_BYTES];
        text[0] = self.letter as u8;
        for (n, byte) in self.hash.iter().enumerate() {
            text[1 + 2 * n] = DIGITS[usize::from(byte >> 4)];
            text[2 + 2 * n] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Sought {
    /// Whether it is the EMAILID of this instance.
    pub fn is_email(&self, entry: &Entry) -> bool {
        self.ids.email(entry) == self.id
    }

    /// Whether it is this THREADID.
    pub fn is_thread(&self, thread: ThreadId) -> bool {
        self.ids.thread(thread) == self.id
    }
}

impl fmt::Debug for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// `objectid`, as a client names one. RFC 8474 §7
pub fn object_id<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Refusal> {
    let start = cursor.clone();
    let what = "an object identifier of at most 255 characters";
    let is_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let bytes = cursor.take_while(what, is_char)?;
    let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= OBJECT_ID_BYTES_MAX);
    text.ok_or_else(|| start.expected(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flag::{KeywordSet, SystemFlags};
    use crate::mail::id::{BlobId, ModSeq, Timestamp, Uid};

    fn entry(blob: i64, trace: i64, thread: i64) -> Entry {
        Entry {
            uid: Uid(7),
            modseq: ModSeq(7),
            blob: BlobId(blob),
            trace: TraceId(trace),
            thread: ThreadId(thread),
            size_bytes: 1,
            trace_bytes: 0,
            internal_date: Timestamp::from_seconds(1_000),
            saved: Timestamp::from_seconds(2_000),
            flags: SystemFlags::default(),
            keywords: KeywordSet::default(),
        }
    }

    #[test]
    fn instances_of_one_message_have_one_identifier_and_others_another() {
        let ids = ObjectIds::by([1; SECRET_BYTES]);
        let delivered = entry(1, 2, 3);
        let copied = Entry { uid: Uid(9), saved: Timestamp::from_seconds(5), ..entry(1, 2, 4) };
        assert_eq!(ids.email(&delivered), ids.email(&copied));
        let appended = entry(1, TraceId::NONE.0, 3);
        let others = [entry(1, 3, 3), entry(2, 2, 3), appended, entry(1, TraceId::NONE.0, 4)];
        for (n, other) in others.iter().enumerate() {
            assert_ne!(ids.email(&delivered), ids.email(other), "{n}");
        }
        assert_eq!(
            ids.sought(&ids.email(&copied).to_string()).map(|s| s.is_email(&delivered)),
            Some(true)
        );
        let thread = ids.sought(&ids.thread(ThreadId(-3)).to_string()).expect("ours");
        assert!(thread.is_thread(ThreadId(-3)) && !thread.is_thread(ThreadId(3)));
    }

    #[test]
    fn an_identifier_says_nothing_without_the_secret() {
        let (ids, others) = (ObjectIds::by([1; SECRET_BYTES]), ObjectIds::by([2; SECRET_BYTES]));
        let id = ids.mailbox(MailboxId(1)).to_string();
        assert_eq!(id.len(), 1 + 2 * HASH_BYTES);
        assert_ne!(id, others.mailbox(MailboxId(1)).to_string());
        let next = ids.mailbox(MailboxId(2)).to_string();
        let alike = id.bytes().zip(next.bytes()).filter(|(a, b)| a == b).count();
        assert!(alike < HASH_BYTES, "{id} {next}");
    }

    #[test]
    fn what_is_written_otherwise_names_nothing() {
        let ids = ObjectIds::by([1; SECRET_BYTES]);
        let id = ids.thread(ThreadId(1)).to_string();
        let upper = id.to_ascii_uppercase();
        let (short, long) = (&id[..id.len() - 1], format!("{id}0"));
        for text in ["", "m", "nil", "t1", upper.as_str(), short, &long, "t-1"] {
            assert!(ids.sought(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_identifier_has_at_most_so_many_characters() {
        let read = |text: &str| object_id(&mut Cursor::new(text.as_bytes())).map(str::to_owned);
        let longest = "x".repeat(OBJECT_ID_BYTES_MAX);
        assert_eq!(read(&longest), Ok(longest.clone()));
        assert!(read(&format!("{longest}x")).is_err());
        assert!(read("(x)").is_err());
        assert_eq!(read("a_B-9)"), Ok("a_B-9".to_owned()));
    }
}
