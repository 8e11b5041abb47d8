//! Sets of UIDs as ascending, disjoint, non-adjacent ranges.

use std::fmt;

use super::id::Uid;

/// A set of UIDs. Grows by ranges, so `1:*` costs nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> UidSet {
        UidSet { ranges: Vec::new() }
    }

    /// Adds one UID; cheapest in ascending order.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds `first..=last` (either way round).
    pub fn insert_range(&mut self, first: Uid, last: Uid) {
        let (low, high) = (first.0.min(last.0), first.0.max(last.0));
        let start = self.ranges.partition_point(|r| r.1.saturating_add(1) < low);
        let end = start + self.ranges[start..].partition_point(|r| r.0 <= high.saturating_add(1));
        let merged =
            self.ranges[start..end].iter().fold((low, high), |m, r| (m.0.min(r.0), m.1.max(r.1)));
        self.ranges.splice(start..end, [merged]);
    }

    /// All of these ranges, in any order; cheaper than one by one.
    pub fn of_ranges(mut ranges: Vec<(u32, u32)>) -> UidSet {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => merged.push((low, high)),
            }
        }
        UidSet { ranges: merged }
    }

    /// What is in both sets; costs ranges, not what they span.
    pub fn intersection(&self, other: &UidSet) -> UidSet {
        let (mut ours, mut theirs) = (&self.ranges[..], &other.ranges[..]);
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (ours.first(), theirs.first()) {
            let (low, high) = (a.0.max(b.0), a.1.min(b.1));
            if low <= high {
                ranges.push((low, high));
            }
            if a.1 < b.1 { ours = &ours[1..] } else { theirs = &theirs[1..] }
        }
        UidSet { ranges }
    }

    /// Those in either.
    pub fn union(&self, other: &UidSet) -> UidSet {
        UidSet::of_ranges([self.ranges(), other.ranges()].concat())
    }

    /// The set without what is in `other`; costs ranges, not what they span.
    pub fn without(&self, other: &UidSet) -> UidSet {
        let mut ranges = Vec::new();
        for &(low, high) in &self.ranges {
            let mut next = low;
            let mut ended = false;
            let from = other.ranges.partition_point(|r| r.1 < low);
            for gap in other.ranges[from..].iter().take_while(|r| r.0 <= high) {
                if next < gap.0 {
                    ranges.push((next, gap.0 - 1));
                }
                ended = gap.1 >= high;
                next = gap.1.saturating_add(1);
            }
            if !ended {
                ranges.push((next, high));
            }
        }
        UidSet { ranges }
    }

    /// The same in pieces of at most `count` ranges.
    pub fn pieces(&self, count: usize) -> impl Iterator<Item = UidSet> + '_ {
        self.ranges.chunks(count).map(|some| UidSet { ranges: some.to_vec() })
    }

    /// Whether the set holds `uid`.
    pub fn contains(&self, uid: Uid) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < uid.0);
        self.ranges.get(at).is_some_and(|r| r.0 <= uid.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many UIDs the set holds.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|r| u64::from(r.1 - r.0) + 1).sum()
    }

    /// The ranges, ascending, both ends included.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// The UIDs, ascending. Bound the set before walking it: `1:4294967295` is a valid set.
    pub fn iter(&self) -> impl Iterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|r| (r.0..=r.1).map(Uid))
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> UidSet {
        let mut set = UidSet::new();
        for uid in uids {
            set.insert(uid);
        }
        set
    }
}

/// As in RFC 3501 §9 `sequence-set`: `1:3,7`.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (low, high)) in self.ranges.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}:{high}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_merge_when_they_touch() {
        let set: UidSet = [5, 1, 2, 3, 9, 8, 4].map(Uid).into_iter().collect();
        assert_eq!(set.to_string(), "1:5,8:9");
        assert_eq!(set.len(), 7);
        assert!(set.contains(Uid(4)) && !set.contains(Uid(6)));
    }

    fn set() -> impl Strategy<Value = UidSet> {
        let near = prop_oneof![0..40u32, (u32::MAX - 20)..=u32::MAX];
        prop::collection::vec(near, 0..20).prop_map(|uids| uids.into_iter().map(Uid).collect())
    }

    proptest! {
        #[test]
        fn sets_combine_as_their_members_do(a in set(), b in set()) {
            let both: UidSet = a.iter().filter(|uid| b.contains(*uid)).collect();
            prop_assert_eq!(a.intersection(&b), both);
            let rest: UidSet = a.iter().filter(|uid| !b.contains(*uid)).collect();
            prop_assert_eq!(a.without(&b), rest);
            let ranges = [b.ranges(), a.ranges()].concat();
            prop_assert_eq!(UidSet::of_ranges(ranges), a.iter().chain(b.iter()).collect());
            let pieces: Vec<UidSet> = a.pieces(2).collect();
            prop_assert!(pieces.iter().all(|piece| piece.ranges().len() <= 2));
            prop_assert_eq!(pieces.iter().flat_map(UidSet::iter).collect::<UidSet>(), a);
        }
    }

    #[test]
    fn a_range_swallows_what_it_covers() {
        let mut set: UidSet = [1, 5, 9, 20].map(Uid).into_iter().collect();
        set.insert_range(Uid(10), Uid(4));
        assert_eq!(set.to_string(), "1,4:10,20");
        set.insert_range(Uid(1), Uid(u32::MAX));
        assert_eq!(set.to_string(), "1:4294967295");
    }
}
