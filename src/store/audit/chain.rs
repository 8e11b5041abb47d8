//! What holds the entries together: the hash of each is the SHA-256 of the hash before it and of
//! its own text. So `printf '%s%s'`, xxd and sha256sum are enough to check an export.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::EntryId;
use crate::mail::id::Timestamp;

/// Length of a hash.
pub const HASH_BYTES: usize = 32;

/// An entry as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number.
    pub id: EntryId,
    /// When it happened; in the text, too.
    pub at: Timestamp,
    /// The entry.
    pub text: String,
    /// What binds it to all before it.
    pub hash: [u8; HASH_BYTES],
}

/// Where the list ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tip {
    /// The number of the last entry; 0 before the first.
    pub id: EntryId,
    /// Its hash; zeros before the first.
    pub hash: [u8; HASH_BYTES],
}

/// The hash of an entry with this text behind an entry with the hash `before`.
pub fn link(before: &[u8; HASH_BYTES], text: &str) -> [u8; HASH_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(before);
    context.update(text.as_bytes());
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

impl Tip {
    /// The entry that follows with this text; from now on it is the last.
    pub fn append(&mut self, at: Timestamp, text: String) -> Record {
        let hash = link(&self.hash, &text);
        *self = Tip { id: EntryId(self.id.0 + 1), hash };
        Record { id: self.id, at, text, hash }
    }
}

/// Where the list is not what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// These entries are not there.
    Missing(EntryId, EntryId),
    /// The entry, or what was before it, is not what it was when it was written.
    Changed(EntryId),
    /// The list ends with another entry than the last that was written.
    OtherEnd,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Missing(first, last) if first == last => {
                write!(f, "entry {} is missing", first.0)
            }
            Broken::Missing(first, last) => {
                write!(f, "the entries {} to {} are missing", first.0, last.0)
            }
            Broken::Changed(id) => write!(f, "entry {} is not as it was written", id.0),
            Broken::OtherEnd => f.write_str("the last entry is not the last that was written"),
        }
    }
}

/// Walks the list from its start; stops at the first break.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    tip: Tip,
}

impl Chain {
    /// Goes on by one entry, in ascending order.
    pub fn take(&mut self, record: &Record) -> Result<(), Broken> {
        let expected = EntryId(self.tip.id.0 + 1);
        if record.id > expected {
            return Err(Broken::Missing(expected, EntryId(record.id.0 - 1)));
        }
        if record.id < expected || link(&self.tip.hash, &record.text) != record.hash {
            return Err(Broken::Changed(record.id));
        }
        self.tip = Tip { id: record.id, hash: record.hash };
        Ok(())
    }

    /// Whether this is all there was.
    pub fn end(&self, written: &Tip) -> Result<(), Broken> {
        if self.tip.id < written.id {
            return Err(Broken::Missing(EntryId(self.tip.id.0 + 1), written.id));
        }
        if self.tip != *written { Err(Broken::OtherEnd) } else { Ok(()) }
    }

    /// How far it has come.
    pub fn tip(&self) -> Tip {
        self.tip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: i64) -> (Vec<Record>, Tip) {
        let mut tip = Tip::default();
        let records = (1..=count).map(|n| tip.append(Timestamp(n), format!("entry {n}")));
        (records.collect(), tip)
    }

    fn verify(records: &[Record], tip: &Tip) -> Result<(), Broken> {
        let mut chain = Chain::default();
        records.iter().try_for_each(|record| chain.take(record))?;
        chain.end(tip)
    }

    #[test]
    fn a_hash_is_sha_256_of_the_one_before_and_of_the_text() {
        // printf '%064d' 0 | xxd -r -p | cat - <(printf 'entry 1') | sha256sum
        let hex: String =
            link(&[0; 32], "entry 1").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ecbbac46fd97ed40f4835ac9fe5312a4059fde96becd6718253c74a64971afd6");
    }

    #[test]
    fn the_first_break_is_named() {
        let (records, tip) = list(5);
        assert_eq!(verify(&records, &tip), Ok(()));
        assert_eq!(verify(&[], &Tip::default()), Ok(()));
        let without = |range: std::ops::Range<usize>| {
            let mut left = records.clone();
            left.drain(range);
            verify(&left, &tip)
        };
        let missing = |first, last| Err(Broken::Missing(EntryId(first), EntryId(last)));
        assert_eq!(without(0..1), missing(1, 1));
        assert_eq!(without(1..3), missing(2, 3));
        assert_eq!(without(4..5), missing(5, 5), "the end, too");
        assert_eq!(without(0..5), missing(1, 5));
        let changed = |at: usize, change: fn(&mut Record)| {
            let mut other = records.clone();
            change(&mut other[at]);
            verify(&other, &tip)
        };
        let broken = |id| Err(Broken::Changed(EntryId(id)));
        assert_eq!(changed(2, |r| r.text.push(' ')), broken(3));
        assert_eq!(changed(2, |r| r.hash[31] ^= 1), broken(3));
        assert_eq!(changed(2, |r| r.id.0 = 2), broken(2));
    }

    #[test]
    fn who_writes_the_list_anew_is_found_by_its_end() {
        let (mut records, tip) = list(3);
        records[2].text = "another".into();
        records[2].hash = link(&records[1].hash, "another");
        assert_eq!(verify(&records, &tip), Err(Broken::OtherEnd));
        let (longer, _) = list(4);
        assert_eq!(verify(&longer, &tip), Err(Broken::OtherEnd));
    }
}
