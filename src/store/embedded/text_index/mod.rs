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
#[cfg(test)]
mod tests;
mod words;
mod work;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use self::segment::{Buffers, Segment};
use self::words::Query;
use crate::mail::id::BlobId;
use crate::store::text::{NEEDLES_MAX, Needle, Verdict};

pub(super) use self::indexer::Indexer;
pub(super) use self::work::Work;

/// The folder of the segments, in the store's.
const FOLDER: &str = "text-index";

/// What is indexed, for all who read.
pub(super) struct TextIndex {
    folder: PathBuf,
    /// By their messages; none overlaps another.
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
}

impl TextIndex {
    /// An index that says nothing yet.
    pub(super) fn new(data_dir: &Path) -> TextIndex {
        TextIndex { folder: data_dir.join(FOLDER), segments: RwLock::default() }
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

    fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, segments: Vec<Arc<Segment>>) {
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }
}

/// Those of the messages that are in the segment's range.
fn within<'a>(order: &'a [(i64, usize)], segment: &Segment) -> &'a [(i64, usize)] {
    let start = order.partition_point(|(message, _)| *message < segment.first);
    let end = order.partition_point(|(message, _)| *message <= segment.last);
    &order[start..end]
}
