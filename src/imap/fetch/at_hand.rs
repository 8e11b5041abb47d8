//! What the store is asked before messages are answered: their facts, and small messages that are
//! wanted whole. In batches of bounded size; one is asked for while the one before it is written.
//! Large messages are streamed, by `body`.

use std::ops::Range;

use super::answer::Answer;
use super::item::{Item, Request, Section, Text, Transfer};
use super::preview;
use crate::imap::Refusal;
use crate::imap::view::{Selection, View};
use crate::mail::id::{BlobId, TraceId};
use crate::store::{Facts, FactsWanted, Store};

/// So many messages' facts are asked for at once.
const FACTS_BATCH: usize = 250;
/// So many messages are read whole at once.
const WHOLE_BATCH: usize = 64;
/// Most bytes of messages that are read whole at once.
const WHOLE_BYTES_MAX: u64 = 512 * 1024;

/// Messages and what is known of them, in their order.
pub(super) struct AtHand {
    pub(super) selection: Selection,
    pub(super) facts: Vec<Facts>,
    /// Trace and message; `None`: to be read in pieces, or not at all. Empty if none is wanted.
    pub(super) wholes: Vec<Option<Vec<u8>>>,
}

impl AtHand {
    /// Asks the store for what `answer` wants to know of the messages of one batch.
    pub(super) async fn gather(
        answer: &Answer<'_>,
        store: &dyn Store,
        selection: Selection,
    ) -> Result<AtHand, Refusal> {
        let view = &answer.selected.view;
        let blobs: Vec<BlobId> = view.messages(&selection).map(|m| m.entry.blob).collect();
        let wanted = answer.facts_wanted();
        let mut facts = match wanted == FactsWanted::default() {
            true => vec![Facts::default(); blobs.len()],
            false => store.facts(&blobs, wanted).await?,
        };
        complete_previews(answer.request, store, (&mut facts, &blobs)).await;
        let wholes = match is_whole_wanted(answer.request) {
            true => read_whole(view, store, &selection).await,
            false => Vec::new(),
        };
        Ok(AtHand { selection, facts, wholes })
    }
}

/// `selection` in batches that can be at hand at once.
pub(super) fn batches<'a>(
    view: &'a View,
    request: &Request,
    selection: &'a Selection,
) -> impl Iterator<Item = Selection> + 'a {
    let is_whole = is_whole_wanted(request);
    let count = if is_whole { WHOLE_BATCH } else { FACTS_BATCH };
    selection.pieces(count).flat_map(move |piece| match is_whole {
        true => by_size(view, &piece),
        false => vec![piece],
    })
}

fn by_size(view: &View, piece: &Selection) -> Vec<Selection> {
    let sizes = view.messages(piece).map(|m| u64::from(m.entry.size_bytes));
    runs(sizes).into_iter().map(|run| piece.slice(run)).collect()
}

/// Runs of messages of these sizes that are read together. One that is too large by itself is
/// alone.
fn runs(sizes: impl Iterator<Item = u64>) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    let mut room = 0_u64;
    for (at, size) in sizes.enumerate() {
        match (room.checked_sub(size), runs.last_mut()) {
            (Some(left), Some(run)) => {
                room = left;
                run.end = at + 1;
            }
            _ => {
                room = WHOLE_BYTES_MAX.saturating_sub(size);
                runs.push(at..at + 1);
            }
        }
    }
    runs
}

async fn read_whole(view: &View, store: &dyn Store, selection: &Selection) -> Vec<Option<Vec<u8>>> {
    let entries = view.messages(selection).map(|m| m.entry);
    let sizes: u64 = entries.map(|entry| u64::from(entry.size_bytes)).sum();
    if sizes > WHOLE_BYTES_MAX {
        return Vec::new();
    }
    let entries = view.messages(selection).map(|m| m.entry);
    let wanted: Vec<(BlobId, TraceId)> = entries.map(|e| (e.blob, e.trace)).collect();
    // what cannot be read here is asked for once more when it is written
    store.messages(&wanted).await.unwrap_or_default()
}

/// BODY[], BODY.PEEK[] or RFC822, and not a part of it.
fn is_whole_wanted(request: &Request) -> bool {
    let is_whole = |section: &Section| {
        section.path.is_empty()
            && section.text == Text::Whole
            && section.partial.is_none()
            && section.transfer != Transfer::Measured
    };
    request.items.iter().any(|item| matches!(item, Item::Section(section) if is_whole(section)))
}

/// A message of which no preview can be read is as one that is gone, which is told later.
async fn complete_previews(
    request: &Request,
    store: &dyn Store,
    (facts, blobs): (&mut [Facts], &[BlobId]),
) {
    let patience = request.items.iter().find_map(|item| match item {
        Item::Preview(patience) => Some(*patience),
        _ => None,
    });
    let Some(patience) = patience else { return };
    let messages = blobs.iter().copied().zip(facts);
    preview::complete(store, messages, patience).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_are_read_together_and_a_large_one_is_alone() {
        let sizes = [WHOLE_BYTES_MAX - 1, 1, 1, WHOLE_BYTES_MAX + 1, 5, WHOLE_BYTES_MAX - 5, 0];
        assert_eq!(runs(sizes.into_iter()), [0..2, 2..3, 3..4, 4..7]);
        assert!(runs(std::iter::empty()).is_empty());
    }
}
