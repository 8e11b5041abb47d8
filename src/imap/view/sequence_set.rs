//! `sequence-set`: how a client names messages, before it is known which there are. RFC 3501 §9

use crate::imap::Refusal;
use crate::imap::wire::lex::Cursor;
use crate::mail::uid_set::UidSet;

/// Most ranges in one set.
pub const RANGES_MAX: usize = 32_768;

/// Ranges as written: of sequence numbers or UIDs, as the command says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceSet {
    ranges: Vec<(Bound, Bound)>,
    origin: Origin,
}

/// Where messages are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// In the set itself.
    Here,
    /// By the last SEARCH with SAVE: `$`. RFC 5182 §2.1
    Saved,
}

/// One end of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bound {
    /// A number, from 1.
    Number(u32),
    /// `*`: the last message.
    Last,
}

impl SequenceSet {
    /// Reads a set.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<SequenceSet, Refusal> {
        let mut ranges = Vec::new();
        if cursor.take(b'$') {
            return Ok(SequenceSet { ranges, origin: Origin::Saved });
        }
        loop {
            let first = bound(cursor)?;
            ranges.push((first, if cursor.take(b':') { bound(cursor)? } else { first }));
            if ranges.len() > RANGES_MAX {
                return Err(cursor.expected("at most 32768 ranges"));
            }
            if !cursor.take(b',') {
                return Ok(SequenceSet { ranges, origin: Origin::Here });
            }
        }
    }

    /// Whether a set could begin here.
    pub fn is_next(cursor: &Cursor<'_>) -> bool {
        cursor.peek().is_some_and(|b| b.is_ascii_digit() || b == b'*' || b == b'$')
    }

    /// Whether it stands for what the last SEARCH has saved.
    pub fn is_saved(&self) -> bool {
        self.origin == Origin::Saved
    }

    /// The ranges, if they ascend without a `*`, each above the one before.
    pub(super) fn ascending(&self) -> Option<Vec<(u32, u32)>> {
        if self.is_saved() {
            return None;
        }
        let mut before = 0;
        let range = |&(first, last): &(Bound, Bound)| match (first, last) {
            (Bound::Number(low), Bound::Number(high)) if before < low && low <= high => {
                before = high;
                Some((low, high))
            }
            _ => None,
        };
        self.ranges.iter().map(range).collect()
    }

    /// The numbers, where `*` is `last`.
    pub(super) fn uids(&self, last: u32) -> UidSet {
        let number = |bound: Bound| match bound {
            Bound::Number(number) => number,
            Bound::Last => last,
        };
        let range = |&(a, b): &(Bound, Bound)| {
            let (a, b) = (number(a), number(b));
            (a.min(b), a.max(b))
        };
        UidSet::of_ranges(self.ranges.iter().map(range).collect())
    }

    /// The numbers, where a range up to `*` takes in what comes after `last`, too.
    pub(super) fn open_uids(&self, last: u32) -> UidSet {
        let range = |range: &(Bound, Bound)| match *range {
            (Bound::Number(a), Bound::Number(b)) => (a.min(b), a.max(b)),
            (Bound::Number(n), Bound::Last) | (Bound::Last, Bound::Number(n)) => {
                (n.min(last), u32::MAX)
            }
            (Bound::Last, Bound::Last) => (last, last),
        };
        UidSet::of_ranges(self.ranges.iter().map(range).collect())
    }

    /// The numbers, if there is no `*` among them. RFC 7162 §7 `known-uids`
    pub fn known_uids(&self) -> Option<UidSet> {
        let starred = |range: &(Bound, Bound)| range.0 == Bound::Last || range.1 == Bound::Last;
        let is_known = !self.is_saved() && !self.ranges.iter().any(starred);
        is_known.then(|| self.uids(0))
    }

    /// Whether it names one message by one number.
    pub fn is_single(&self) -> bool {
        matches!(self.ranges.as_slice(), [(first, last)] if first == last)
    }

    pub(super) fn ranges(&self) -> &[(Bound, Bound)] {
        &self.ranges
    }
}

fn bound(cursor: &mut Cursor<'_>) -> Result<Bound, Refusal> {
    if cursor.take(b'*') { Ok(Bound::Last) } else { Ok(Bound::Number(cursor.nz_number()?)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_as_written() {
        let parse = |text: &str| {
            let mut cursor = Cursor::new(text.as_bytes());
            SequenceSet::parse(&mut cursor).and_then(|set| cursor.end().map(|()| set))
        };
        let set = parse("1,5:3,*,7:*").expect("a set");
        assert_eq!(set.ranges().len(), 4);
        assert_eq!(set.ranges()[3], (Bound::Number(7), Bound::Last));
        assert!(parse("$").is_ok_and(|set| set.is_saved()));
        for wrong in ["", "0", "$,1", "1,$", "$:5", "1,", "1:", "a", "1:2:3", "4294967296", "1 2"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_set_has_at_most_so_many_ranges() {
        let parse = |count: usize| {
            let text = vec!["1"; count].join(",");
            SequenceSet::parse(&mut Cursor::new(text.as_bytes()))
        };
        assert!(parse(RANGES_MAX).is_ok());
        assert!(parse(RANGES_MAX + 1).is_err());
    }
}
