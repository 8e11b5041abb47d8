//! The messages that a command names, as places in the view. Opaque outside of it: a place is a
//! sequence number.

use std::ops::Range;

use super::sequence_set::{Bound, SequenceSet};
use crate::imap::Refusal;
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::snapshot::Snapshot;

/// Messages of a view: ascending, disjoint ranges of places, from 0. Valid as long as no EXPUNGE
/// has been sent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    ranges: Vec<Range<usize>>,
}

impl Selection {
    /// The first `count` messages.
    pub fn all(count: usize) -> Selection {
        Selection::merged(std::iter::once(0..count).collect())
    }

    /// By sequence numbers. A number that the client cannot know is BAD; a range that begins below
    /// the last message is clipped. RFC 3501 §9 `seq-number`
    pub(super) fn by_number(set: &SequenceSet, exists: usize) -> Result<Selection, Refusal> {
        let number = |bound: Bound| match bound {
            Bound::Number(n) => n as usize,
            Bound::Last => exists,
        };
        let mut ranges = Vec::with_capacity(set.ranges().len());
        for &(first, last) in set.ranges() {
            let (low, high) = (number(first).min(number(last)), number(first).max(number(last)));
            let starred = first == Bound::Last || last == Bound::Last;
            if low > exists && !starred {
                return Err(Refusal::Bad(format!("there are only {exists} messages")));
            }
            ranges.push(low.max(1) - 1..high.min(exists));
        }
        Ok(Selection::merged(ranges))
    }

    /// By sequence numbers; those that do not exist are left out without a word.
    pub(super) fn by_number_clipped(set: &SequenceSet, exists: usize) -> Selection {
        let number = |bound: Bound| match bound {
            Bound::Number(n) => n as usize,
            Bound::Last => exists,
        };
        let range = |&(first, last): &(Bound, Bound)| {
            let (low, high) = (number(first).min(number(last)), number(first).max(number(last)));
            low.max(1) - 1..high.min(exists)
        };
        Selection::merged(set.ranges().iter().map(range).collect())
    }

    /// By UIDs; those that do not exist are left out without a word. RFC 3501 §6.4.8
    pub(super) fn by_uid(set: &SequenceSet, believed: &Snapshot) -> Selection {
        let last = believed.len().checked_sub(1).and_then(|last| believed.nth(last));
        let last = last.map_or(0, |entry| entry.uid.0);
        let uid = |bound: Bound| match bound {
            Bound::Number(n) => n,
            Bound::Last => last,
        };
        let ranges = set.ranges().iter().map(|&(first, end)| {
            places(believed, (uid(first).min(uid(end)), uid(first).max(uid(end))))
        });
        Selection::merged(ranges.collect())
    }

    /// By UIDs, as far as they are there.
    pub(super) fn with_uids(uids: &UidSet, believed: &Snapshot) -> Selection {
        let ranges = uids.ranges().iter().map(|range| places(believed, *range));
        Selection::merged(ranges.collect())
    }

    /// The messages in both.
    pub fn intersection(&self, other: &Selection) -> Selection {
        let (mut ours, mut theirs) = (&self.ranges[..], &other.ranges[..]);
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (ours.first(), theirs.first()) {
            ranges.push(a.start.max(b.start)..a.end.min(b.end));
            if a.end < b.end { ours = &ours[1..] } else { theirs = &theirs[1..] }
        }
        Selection::merged(ranges)
    }

    /// The messages from the `range.start`-th on, counted from 0, up to the `range.end`-th.
    pub fn slice(&self, range: Range<usize>) -> Selection {
        let mut before = 0;
        let cut = |places: &Range<usize>| {
            let from = range.start.saturating_sub(before).min(places.len());
            let to = range.end.saturating_sub(before).min(places.len());
            before += places.len();
            places.start + from..places.start + to
        };
        Selection::merged(self.ranges.iter().map(cut).collect())
    }

    /// From places in ascending order.
    pub fn from_numbers(numbers: impl Iterator<Item = u32>) -> Selection {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for place in numbers.map(|n| n as usize - 1) {
            match ranges.last_mut() {
                Some(last) if last.end == place => last.end += 1,
                _ => ranges.push(place..place + 1),
            }
        }
        Selection { ranges }
    }

    /// The same messages in pieces of at most `count`.
    pub fn pieces(&self, count: usize) -> impl Iterator<Item = Selection> + '_ {
        let mut rest = self.ranges.iter().cloned();
        let mut left = rest.next();
        std::iter::from_fn(move || {
            let (mut piece, mut room) = (Vec::new(), count);
            while let Some(range) = left.take() {
                let taken = range.start..range.end.min(range.start + room);
                room -= taken.len();
                left = if taken.end < range.end { Some(taken.end..range.end) } else { rest.next() };
                piece.push(taken);
                if room == 0 {
                    break;
                }
            }
            (!piece.is_empty()).then_some(Selection { ranges: piece })
        })
    }

    /// Whether `number` is among them.
    pub fn contains(&self, number: u32) -> bool {
        let place = number as usize - 1;
        let at = self.ranges.partition_point(|r| r.end <= place);
        self.ranges.get(at).is_some_and(|r| r.start <= place)
    }

    /// Whether no message is selected.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many messages are selected.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(Range::len).sum()
    }

    pub(super) fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    fn merged(mut ranges: Vec<Range<usize>>) -> Selection {
        ranges.retain(|r| r.start < r.end);
        ranges.sort_unstable_by_key(|r| r.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Selection { ranges: merged }
    }
}

/// The places of the messages in a range of UIDs.
fn places(believed: &Snapshot, (low, high): (u32, u32)) -> Range<usize> {
    let start = believed.position(Uid(low)).unwrap_or_else(|at| at);
    start..believed.position(Uid(high)).map_or_else(|at| at, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::wire::lex::Cursor;

    fn numbers(set: &str, exists: usize) -> Option<Vec<(usize, usize)>> {
        let set = SequenceSet::parse(&mut Cursor::new(set.as_bytes())).expect("a set");
        Selection::by_number(&set, exists)
            .ok()
            .map(|s| s.ranges.iter().map(|r| (r.start, r.end)).collect())
    }

    #[test]
    fn numbers_are_clipped_to_what_the_client_believes() {
        assert_eq!(numbers("1:*", 5), Some(vec![(0, 5)]));
        assert_eq!(numbers("*", 5), Some(vec![(4, 5)]));
        assert_eq!(numbers("4:4294967295", 5), Some(vec![(3, 5)]));
        assert_eq!(numbers("5:2,1,3", 5), Some(vec![(0, 5)]));
        assert_eq!(numbers("9:*", 5), Some(vec![(4, 5)]));
        assert_eq!(numbers("6", 5), None);
        assert_eq!(numbers("6:7", 5), None);
        assert_eq!(numbers("1:*", 0), Some(vec![]));
        assert_eq!(numbers("1", 0), None);
    }

    #[test]
    fn selections_are_cut_and_combined() {
        let whole = Selection::merged(vec![0..10, 20..23, 30..31]);
        assert_eq!(whole.slice(8..12), Selection::merged(vec![8..10, 20..22]));
        assert_eq!(whole.slice(12..99), Selection::merged(vec![22..23, 30..31]));
        assert_eq!(whole.slice(14..99), Selection::default());
        let other = Selection::merged(vec![5..21, 22..40]);
        let both = Selection::merged(vec![5..10, 20..21, 22..23, 30..31]);
        assert_eq!(whole.intersection(&other), both);
        assert_eq!(other.intersection(&whole), both);
        assert_eq!(whole.intersection(&Selection::default()), Selection::default());
    }

    #[test]
    fn pieces_cover_everything_once() {
        let whole = Selection::merged(vec![0..10, 20..23, 30..31]);
        let pieces: Vec<Selection> = whole.pieces(4).collect();
        assert_eq!(pieces.iter().map(Selection::len).collect::<Vec<_>>(), [4, 4, 4, 2]);
        let all = pieces.into_iter().flat_map(|p| p.ranges).collect();
        assert_eq!(Selection::merged(all), whole);
        assert!(whole.contains(23) && !whole.contains(24) && whole.contains(1));
    }
}
