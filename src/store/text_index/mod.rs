//! An index over the folded text of all messages, so that a search reads the text of those only of
//! which the index cannot tell.
//!
//! It consists of segments, files in a folder of their own, each with the words of some thousand
//! messages in the order of their numbers (`segment`, `postings`; made by `build`). A thread of its
//! own makes them from the stored texts, after delivery and off its path, and makes them again when
//! messages are gone, segments are many and small, or one is damaged (`indexer`, `work`). All of it
//! can be thrown away at any time. What is not in the index (yet) is read, as without it.
//!
//! What it says holds. A segment is shown when its words were found to be those of the texts
//! (`proof`), each read of it is checked, and each entry bears the check of the texts it was made
//! of: one that is stale, of another store, or damaged is thrown away before it is asked.
//!
//! Trigrams were weighed: a word of n letters has n of them, so that a list of messages for each
//! takes more room than the word; what they find must be read to be sure of, and a needle of two
//! letters is not found at all. With words, text that has no break in it is found exactly.

mod build;
mod indexer;
mod postings;
mod proof;
mod segment;
mod source;
#[cfg(test)]
mod tests;
mod words;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use self::segment::{Buffers, Segment};
use self::words::Query;
use crate::mail::id::BlobId;
use crate::store::text::{NEEDLES_MAX, Needle, Verdict};

#[cfg(test)]
pub(super) use self::indexer::BACKLOG_MESSAGES;
pub(super) use self::indexer::Indexer;
pub(super) use self::source::{Source, Texts};
pub(super) use self::work::Work;

/// The folder of the segments, in the store's.
const FOLDER: &str = "text-index";

/// What is indexed, for all who read.
pub(super) struct TextIndex {
    folder: PathBuf,
    shown: RwLock<Shown>,
}

/// What is asked, and how far it can be trusted.
struct Shown {
    /// By their messages; none overlaps another.
    segments: Arc<Vec<Arc<Segment>>>,
    /// The last message when the store was opened, or doubted.
    last_message: i64,
    doubts: u64,
}

impl TextIndex {
    /// An index that says nothing yet, of a store with so many messages.
    pub(super) fn new(data_dir: &Path, last_message: i64) -> TextIndex {
        let shown = Shown { segments: Arc::default(), last_message, doubts: 0 };
        TextIndex { folder: data_dir.join(FOLDER), shown: RwLock::new(shown) }
    }

    /// The store may have been put back to an earlier time: nothing is said until the segments are
    /// compared with it again.
    pub(super) fn doubt(&self, last_message: i64) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let doubts = shown.doubts + 1;
        *shown = Shown { segments: Arc::default(), last_message, doubts };
    }

    /// How often it was doubted.
    pub(super) fn doubts(&self) -> u64 {
        self.shown().doubts
    }

    /// For each needle what is known of each message; nothing at all where that is nothing.
    pub(super) fn verdicts(&self, messages: &[BlobId], needles: &[Needle]) -> Vec<Vec<Verdict>> {
        let mut order: Vec<(i64, usize)> =
            messages.iter().enumerate().map(|(at, blob)| (blob.0, at)).collect();
        order.sort_unstable();
        let queries: Vec<(&Needle, Option<Query>)> =
            needles.iter().take(NEEDLES_MAX).map(|n| (n, Query::of(n))).collect();
        let mut verdicts = vec![Vec::new(); queries.len()];
        let mut buffers = Buffers::default();
        for segment in self.segments().iter() {
            let asked = segment.docs(within(&order, segment));
            for ((needle, query), verdicts) in queries.iter().zip(&mut verdicts) {
                let Some(query) = query else { continue };
                if asked.is_empty() || !segment.is_worth_it(needle.place, asked.len()) {
                    continue;
                }
                // a damaged segment says nothing, and is made anew
                let Ok(found) = segment.find(needle.place, query, &mut buffers) else { continue };
                verdicts.resize(messages.len(), Verdict::Unknown);
                asked.iter().for_each(|(doc, at)| verdicts[*at] = found.verdict(*doc));
            }
        }
        verdicts
    }

    /// Removes what an earlier run left, for a store that is to have no index.
    pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(data_dir.join(FOLDER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.shown().segments.clone()
    }

    /// Shows these, unless it was doubted since; whether they are shown.
    fn set(&self, segments: Vec<Arc<Segment>>, doubts: u64) -> bool {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let is_sure = shown.doubts == doubts;
        if is_sure {
            shown.segments = Arc::new(segments);
        }
        is_sure
    }
}

/// Those of the messages that are in the segment's range.
fn within<'a>(order: &'a [(i64, usize)], segment: &Segment) -> &'a [(i64, usize)] {
    let start = order.partition_point(|(message, _)| *message < segment.first);
    let end = order.partition_point(|(message, _)| *message <= segment.last);
    &order[start..end]
}
