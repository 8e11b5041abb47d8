//! Small messages that a FETCH wants whole, several in one question to the store: what a mail
//! program does that keeps a copy of a mailbox. Large ones are streamed, by `body`.

use std::collections::VecDeque;

use super::item::{Item, Request, Section, Text, Transfer};
use crate::mail::id::{BlobId, TraceId};
use crate::store::Store;
use crate::store::snapshot::Entry;

/// Most bytes of messages that are read in one question.
const BYTES_MAX: u64 = 512 * 1024;
/// Most messages that are read in one question.
const MESSAGES_MAX: usize = 64;

/// The messages of one FETCH, in their order.
pub struct ReadAhead<'a> {
    store: &'a dyn Store,
    /// Which, and their sizes; empty when none is wanted whole.
    wanted: Vec<(BlobId, TraceId, u64)>,
    at: usize,
    read: VecDeque<Option<Vec<u8>>>,
}

impl<'a> ReadAhead<'a> {
    /// Reads nothing yet, and nothing ever unless `request` wants whole messages.
    pub fn new<'e>(
        store: &'a dyn Store,
        request: &Request,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> ReadAhead<'a> {
        let wanted = match request.items.iter().any(is_whole) {
            true => entries.map(|e| (e.blob, e.trace, u64::from(e.size_bytes))).collect(),
            false => Vec::new(),
        };
        ReadAhead { store, wanted, at: 0, read: VecDeque::new() }
    }

    /// The next message, to be called once for each; `None`: it is read in pieces, or not at all.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        if self.read.is_empty() {
            let batch = self.batch();
            if !batch.is_empty() {
                self.read = self.store.messages(&batch).await.unwrap_or_default().into();
            }
        }
        self.at += 1;
        self.read.pop_front().flatten()
    }

    fn batch(&self) -> Vec<(BlobId, TraceId)> {
        let mut room = BYTES_MAX;
        let rest = self.wanted.get(self.at..).unwrap_or_default().iter().take(MESSAGES_MAX);
        rest.map_while(|(blob, trace, size)| {
            room = room.checked_sub(*size)?;
            Some((*blob, *trace))
        })
        .collect()
    }
}

/// BODY[], BODY.PEEK[] or RFC822, and not a part of it.
fn is_whole(item: &Item) -> bool {
    matches!(item, Item::Section(Section { path, text: Text::Whole, partial: None, transfer, .. })
        if path.is_empty() && *transfer != Transfer::Measured)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    #[tokio::test]
    async fn small_messages_are_read_together_and_a_large_one_is_stepped_over() {
        let store = Memory::new(Arc::new(ManualClock::default()));
        let sizes = [BYTES_MAX - 1, 1, 1, BYTES_MAX + 1, 5];
        let wanted = (1..).zip(sizes).map(|(n, size)| (BlobId(n), TraceId::NONE, size)).collect();
        let mut ahead = ReadAhead { store: &store, wanted, at: 0, read: VecDeque::new() };
        let mut batches = Vec::new();
        for _ in sizes {
            if ahead.read.is_empty() {
                batches.push(ahead.batch().iter().map(|(blob, _)| blob.0).collect::<Vec<_>>());
            }
            // the store has none of them
            assert_eq!(ahead.next().await, None);
        }
        assert_eq!(batches, [vec![1, 2], vec![3], vec![], vec![5]]);
        assert_eq!(ahead.next().await, None);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_is_read_at_once() {
        let store = Memory::new(Arc::new(ManualClock::default()));
        let wanted = (0..=MESSAGES_MAX as i64).map(|n| (BlobId(n), TraceId::NONE, 1)).collect();
        let ahead = ReadAhead { store: &store, wanted, at: 0, read: VecDeque::new() };
        assert_eq!(ahead.batch().len(), MESSAGES_MAX);
    }
}
