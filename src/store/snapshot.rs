//! A mailbox's state at one ModSeq: immutable, in chunks that consecutive states share, so that a
//! thousand readers hold one copy and comparing two states costs what differs between them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mail::flag::{KeywordSet, SystemFlags};
use crate::mail::id::{BlobId, MailboxId, ModSeq, ThreadId, Timestamp, TraceId, Uid, UidValidity};
use crate::mail::uid_set::UidSet;
use crate::store::mirror::Mirror;

/// Most entries in one chunk.
const CHUNK_ENTRIES_MAX: usize = 256;

/// One instance of a message in a mailbox.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number here.
    pub uid: Uid,
    /// Its last change that everybody sees.
    pub modseq: ModSeq,
    /// The stored message.
    pub blob: BlobId,
    /// The trace fields before it.
    pub trace: TraceId,
    /// What it belongs with.
    pub thread: ThreadId,
    /// RFC822.SIZE: trace and message, in bytes.
    pub size_bytes: u32,
    /// How many of these are trace.
    pub trace_bytes: u32,
    /// INTERNALDATE
    pub internal_date: Timestamp,
    /// When it entered this mailbox. RFC 8514 §3
    pub saved: Timestamp,
    /// Flags; \Seen only where it is shared.
    pub flags: SystemFlags,
    /// Keywords, numbered by the mailbox.
    pub keywords: KeywordSet,
}

/// The state of a mailbox.
#[derive(Clone, PartialEq, Debug)]
pub struct Snapshot {
    /// Which mailbox.
    pub mailbox: MailboxId,
    /// Its epoch.
    pub uid_validity: UidValidity,
    /// The UID that the next message gets, at least.
    pub uid_next: Uid,
    /// The mailbox's last change, a user's own ones included.
    pub highest_modseq: ModSeq,
    /// The names of the keywords by number.
    pub keywords: Arc<Vec<Arc<str>>>,
    /// Of a virtual mailbox that shows something: where its messages lie.
    pub mirror: Option<Arc<Mirror>>,
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// Index of each chunk's first entry.
    starts: Arc<Vec<u32>>,
    totals: Totals,
}

/// Some entries in a row.
#[derive(Clone, Debug)]
struct Chunk {
    entries: Vec<Entry>,
    /// None of them has changed later; what was removed may have.
    highest_modseq: ModSeq,
}

impl Chunk {
    fn new(entry: Entry) -> Chunk {
        Chunk { highest_modseq: entry.modseq, entries: vec![entry] }
    }

    fn push(&mut self, entry: Entry) {
        self.highest_modseq = self.highest_modseq.max(entry.modseq);
        self.entries.push(entry);
    }
}

impl PartialEq for Chunk {
    fn eq(&self, other: &Chunk) -> bool {
        self.entries == other.entries
    }
}

impl std::ops::Deref for Chunk {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// Sums over the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// How many entries.
    pub messages: u32,
    /// How many have \Deleted.
    pub deleted: u32,
    /// How many have the shared \Seen.
    pub seen: u32,
    /// Sum of their sizes.
    pub size_bytes: u64,
    /// Sum of the sizes of those with \Deleted.
    pub deleted_bytes: u64,
}

/// What lies between two states of a mailbox.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Difference {
    /// In the old state only.
    pub expunged: UidSet,
    /// In both, changed since; ascending.
    pub changed: Vec<Uid>,
    /// In the new state only; ascending.
    pub added: Vec<Uid>,
}

impl Snapshot {
    /// An empty mailbox.
    pub fn empty(mailbox: MailboxId, uid_validity: UidValidity) -> Snapshot {
        Snapshot {
            mailbox,
            uid_validity,
            uid_next: Uid(1),
            highest_modseq: ModSeq(1),
            keywords: Arc::default(),
            mirror: None,
            chunks: Arc::default(),
            starts: Arc::default(),
            totals: Totals::default(),
        }
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.totals.messages as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.totals.messages == 0
    }

    /// Sums over the entries.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The entry at `index`, from 0, in UID order.
    pub fn nth(&self, index: usize) -> Option<&Entry> {
        let chunk = self.starts.partition_point(|start| *start as usize <= index).checked_sub(1)?;
        self.chunks[chunk].get(index - self.starts[chunk] as usize)
    }

    /// Where `uid` is, from 0; where it would be, if it is not there.
    pub fn position(&self, uid: Uid) -> Result<usize, usize> {
        let Some(chunk) = self.chunk_of(uid) else { return Err(0) };
        let start = self.starts[chunk] as usize;
        match self.chunks[chunk].binary_search_by_key(&uid, |e| e.uid) {
            Ok(at) => Ok(start + at),
            Err(at) => Err(start + at),
        }
    }

    /// The entry with `uid`.
    pub fn by_uid(&self, uid: Uid) -> Option<&Entry> {
        self.position(uid).ok().and_then(|index| self.nth(index))
    }

    /// All entries in UID order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The entries from `index` on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &Entry> {
        let chunk = self.starts.partition_point(|start| *start as usize <= index).saturating_sub(1);
        let skip = index - self.starts.get(chunk).map_or(index, |start| *start as usize);
        self.chunks[chunk.min(self.chunks.len())..].iter().flat_map(|c| c.iter()).skip(skip)
    }

    /// The entries whose UID is in `uids`, ascending; costs what it finds, not what `uids` spans.
    pub fn entries_in<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = &'a Entry> {
        uids.ranges().iter().flat_map(|(first, last)| {
            let start = self.position(Uid(*first)).unwrap_or_else(|at| at);
            self.iter_from(start).take_while(|entry| entry.uid.0 <= *last)
        })
    }

    /// The entries that have changed after `since`, ascending; chunks without any are skipped.
    pub fn changed_since(&self, since: ModSeq) -> impl Iterator<Item = &Entry> {
        let chunks = self.chunks.iter().filter(move |chunk| chunk.highest_modseq > since);
        chunks.flat_map(|chunk| chunk.iter()).filter(move |entry| entry.modseq > since)
    }

    /// The chunk in which `uid` is or would be; `None` when there is no chunk.
    fn chunk_of(&self, uid: Uid) -> Option<usize> {
        let after = self.chunks.partition_point(|c| c.first().is_some_and(|e| e.uid <= uid));
        (!self.chunks.is_empty()).then(|| after.saturating_sub(1))
    }

    /// What lies between `old` and `new`, two states of one mailbox. Shared chunks are skipped.
    pub fn difference(old: &Snapshot, new: &Snapshot) -> Difference {
        let mut difference = Difference::default();
        let (mut before, mut after) = (Cursor::new(&old.chunks), Cursor::new(&new.chunks));
        loop {
            if before.skip_shared(&mut after) {
                continue;
            }
            match (before.entry(), after.entry()) {
                (None, None) => return difference,
                (Some(b), a) if a.is_none_or(|a| b.uid < a.uid) => {
                    difference.expunged.insert(b.uid);
                    before.step();
                }
                (b, Some(a)) if b.is_none_or(|b| a.uid < b.uid) => {
                    difference.added.push(a.uid);
                    after.step();
                }
                (Some(b), Some(a)) => {
                    if a != b {
                        difference.changed.push(a.uid);
                    }
                    before.step();
                    after.step();
                }
                (None, Some(_)) | (Some(_), None) => return difference,
            }
        }
    }

    /// Adds an entry at the end; its UID must be the highest.
    pub fn push(&mut self, entry: Entry) {
        self.totals.count(&entry, 1);
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK_ENTRIES_MAX => Arc::make_mut(last).push(entry),
            _ => {
                let start = self.totals.messages - 1;
                Arc::make_mut(&mut self.starts).push(start);
                chunks.push(Arc::new(Chunk::new(entry)));
            }
        }
    }

    /// Changes the entry with `uid`; `false` when there is none.
    pub fn update(&mut self, uid: Uid, change: impl FnOnce(&mut Entry)) -> bool {
        let Some(chunk) = self.chunk_of(uid) else { return false };
        let Ok(at) = self.chunks[chunk].binary_search_by_key(&uid, |e| e.uid) else { return false };
        let chunk = &mut Arc::make_mut(&mut self.chunks)[chunk];
        let chunk = Arc::make_mut(chunk);
        let entry = &mut chunk.entries[at];
        self.totals.count(entry, -1);
        change(entry);
        self.totals.count(entry, 1);
        chunk.highest_modseq = chunk.highest_modseq.max(entry.modseq);
        true
    }

    /// Removes all entries whose UID is in `uids`.
    pub fn remove(&mut self, uids: &UidSet) {
        let chunks = Arc::make_mut(&mut self.chunks);
        for chunk in chunks.iter_mut() {
            let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { continue };
            if !reaches(uids, (first.uid, last.uid)) {
                continue;
            }
            let totals = &mut self.totals;
            Arc::make_mut(chunk).entries.retain(|entry| {
                let gone = uids.contains(entry.uid);
                if gone {
                    totals.count(entry, -1);
                }
                !gone
            });
        }
        chunks.retain(|chunk| !chunk.is_empty());
        let starts = chunks.iter().scan(0, |next, chunk| {
            let start = *next;
            *next += chunk.len() as u32;
            Some(start)
        });
        self.starts = Arc::new(starts.collect());
    }
}

/// Whether `uids` has anything within these bounds.
fn reaches(uids: &UidSet, (first, last): (Uid, Uid)) -> bool {
    let at = uids.ranges().partition_point(|range| range.1 < first.0);
    uids.ranges().get(at).is_some_and(|range| range.0 <= last.0)
}

impl Totals {
    fn count(&mut self, entry: &Entry, sign: i32) {
        let one = |set: bool| if set { sign } else { 0 };
        self.messages = self.messages.wrapping_add_signed(sign);
        let deleted = entry.flags.contains(SystemFlags::DELETED);
        self.deleted = self.deleted.wrapping_add_signed(one(deleted));
        self.seen = self.seen.wrapping_add_signed(one(entry.flags.contains(SystemFlags::SEEN)));
        let bytes = i64::from(entry.size_bytes) * i64::from(sign);
        self.size_bytes = self.size_bytes.wrapping_add_signed(bytes);
        if deleted {
            self.deleted_bytes = self.deleted_bytes.wrapping_add_signed(bytes);
        }
    }
}

/// A place in a list of chunks.
struct Cursor<'a> {
    chunks: &'a [Arc<Chunk>],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(chunks: &'a [Arc<Chunk>]) -> Cursor<'a> {
        Cursor { chunks, at: 0 }
    }

    fn entry(&self) -> Option<&'a Entry> {
        self.chunks.first().and_then(|chunk| chunk.get(self.at))
    }

    fn step(&mut self) {
        self.at += 1;
        if self.chunks.first().is_some_and(|chunk| self.at >= chunk.len()) {
            self.chunks = &self.chunks[1..];
            self.at = 0;
        }
    }

    /// Steps over a chunk that both have at this place; whether it did.
    fn skip_shared(&mut self, other: &mut Cursor<'a>) -> bool {
        let shared = match (self.chunks.first(), other.chunks.first()) {
            (Some(a), Some(b)) => self.at == 0 && other.at == 0 && Arc::ptr_eq(a, b),
            _ => false,
        };
        if shared {
            self.chunks = &self.chunks[1..];
            other.chunks = &other.chunks[1..];
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(uid: u32) -> Entry {
        Entry {
            uid: Uid(uid),
            modseq: ModSeq(u64::from(uid)),
            blob: BlobId(1),
            trace: TraceId::NONE,
            thread: ThreadId(1),
            size_bytes: 10,
            trace_bytes: 0,
            internal_date: Timestamp(0),
            saved: Timestamp(0),
            flags: SystemFlags::NONE,
            keywords: KeywordSet::default(),
        }
    }

    fn mailbox(count: u32) -> Snapshot {
        let mut snapshot = Snapshot::empty(MailboxId(1), UidValidity(1));
        (1..=count).for_each(|uid| snapshot.push(entry(uid * 2)));
        snapshot
    }

    #[test]
    fn nth_and_position_agree_across_chunks_and_removals() {
        let mut snapshot = mailbox(1000);
        let gone: UidSet = (300..900).map(Uid).collect();
        snapshot.remove(&gone);
        let uids: Vec<Uid> = snapshot.iter().map(|e| e.uid).collect();
        assert_eq!(uids.len(), snapshot.len());
        for (index, uid) in uids.iter().enumerate() {
            assert_eq!(snapshot.nth(index).map(|e| e.uid), Some(*uid));
            assert_eq!(snapshot.position(*uid), Ok(index));
        }
        assert_eq!(snapshot.nth(uids.len()), None);
        assert!(snapshot.position(Uid(500)).is_err());
        assert_eq!(snapshot.iter_from(600).count(), uids.len() - 600);
        assert_eq!(snapshot.iter_from(uids.len() + 5).count(), 0);
        assert_eq!(snapshot.totals().size_bytes, 10 * uids.len() as u64);
    }

    #[test]
    fn entries_in_a_set_are_found_across_gaps() {
        let snapshot = mailbox(1000);
        let mut uids: UidSet = [1, 2, 3, 511, 512, 513].map(Uid).into_iter().collect();
        uids.insert_range(Uid(1998), Uid(u32::MAX));
        let found: Vec<u32> = snapshot.entries_in(&uids).map(|e| e.uid.0).collect();
        assert_eq!(found, [2, 512, 1998, 2000]);
        assert_eq!(mailbox(0).entries_in(&uids).count(), 0);
    }

    #[test]
    fn what_has_changed_since_is_found_in_every_chunk() {
        let mut snapshot = mailbox(1000);
        snapshot.update(Uid(4), |entry| entry.modseq = ModSeq(5000));
        let since = |modseq| -> Vec<u32> {
            snapshot.changed_since(ModSeq(modseq)).map(|entry| entry.uid.0).collect()
        };
        assert_eq!(since(1998), [4, 2000]);
        assert!(since(5000).is_empty());
        assert_eq!(since(0).len(), 1000);
        snapshot.remove(&[Uid(4)].into_iter().collect());
        assert_eq!(snapshot.changed_since(ModSeq(1998)).count(), 1);
    }

    #[test]
    fn difference_names_each_change_once() {
        let old = mailbox(1000);
        let mut new = old.clone();
        new.remove(&[Uid(2), Uid(800), Uid(2000)].into_iter().collect());
        assert!(new.update(Uid(600), |e| e.flags = SystemFlags::FLAGGED));
        assert!(!new.update(Uid(601), |_| ()));
        new.push(entry(2001));
        let difference = Snapshot::difference(&old, &new);
        assert_eq!(difference.expunged.to_string(), "2,800,2000");
        assert_eq!(difference.changed, vec![Uid(600)]);
        assert_eq!(difference.added, vec![Uid(2001)]);
        assert_eq!(Snapshot::difference(&new, &new), Difference::default());
    }
}
