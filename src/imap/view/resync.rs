//! What has happened in a mailbox since a client last looked, as far as it is told by comparing
//! mod-sequences. RFC 7162 §3.2

use std::sync::Arc;

use super::{Selection, SequenceSet, View};
use crate::mail::flag::SeenMode;
use crate::mail::id::{ModSeq, Uid};
use crate::mail::uid_set::UidSet;

/// Sequence numbers, and the UIDs that a client knew there. RFC 7162 §3.2.5.2
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceMatch {
    /// Runs of both: first number, first UID, how many.
    runs: Vec<(u32, u32, u32)>,
}

impl SequenceMatch {
    /// Both sets must ascend and name as many; `None` otherwise.
    pub fn new(numbers: &SequenceSet, uids: &SequenceSet) -> Option<SequenceMatch> {
        let (numbers, uids) = (numbers.ascending()?, uids.ascending()?);
        let length = |ranges: &[(u32, u32)]| -> u64 {
            ranges.iter().map(|range| u64::from(range.1 - range.0) + 1).sum()
        };
        if length(&numbers) != length(&uids) {
            return None;
        }
        let (mut runs, mut uids) = (Vec::new(), uids.into_iter());
        let mut rest: Option<(u32, u32)> = None;
        for (mut number, last) in numbers {
            while let Some(uid) = rest.take().or_else(|| uids.next()) {
                let count = (last - number).min(uid.1 - uid.0);
                runs.push((number, uid.0, count + 1));
                rest = (uid.0 + count < uid.1).then(|| (uid.0 + count + 1, uid.1));
                if number + count == last {
                    break;
                }
                number += count + 1;
            }
        }
        Some(SequenceMatch { runs })
    }
}

impl View {
    /// Those of `among` that have changed after `since`, for this user. RFC 7162 §3.1.4.1
    pub fn changed_since(&self, among: &Selection, since: ModSeq) -> Selection {
        let mut uids: Vec<Uid> = self.told.changed_since(since).map(|entry| entry.uid).collect();
        if self.seen == SeenMode::PerUser {
            uids.extend(self.overlay.changed_since(since));
        }
        if !Arc::ptr_eq(&self.told, &self.believed) {
            let believed = self.believed.changed_since(since).map(|entry| entry.uid);
            uids.extend(believed.filter(|uid| self.told.position(*uid).is_err()));
        }
        uids.sort_unstable();
        uids.dedup();
        let numbers = uids.into_iter().filter_map(|uid| self.number(uid));
        Selection::from_numbers(numbers.filter(|number| among.contains(*number)))
    }

    /// Those of `expunged` in which the client does not believe: what it believes in is told by
    /// EXPUNGE or VANISHED without EARLIER, when it may be.
    pub fn not_believed(&self, expunged: &UidSet) -> UidSet {
        let believed: UidSet = self.believed.entries_in(expunged).map(|entry| entry.uid).collect();
        expunged.without(&believed)
    }

    /// The UIDs that have been given here until now.
    pub fn given(&self) -> UidSet {
        match self.told.uid_next.0 {
            0 | 1 => UidSet::new(),
            next => UidSet::of_ranges(vec![(1, next - 1)]),
        }
    }

    /// The UIDs that `set` names, whether they exist or not; `*` is the last one given.
    pub fn named_uids(&self, set: &SequenceSet) -> UidSet {
        if set.is_saved() {
            return self.saved().clone();
        }
        let last = self.told.uid_next.0.saturating_sub(1);
        set.uids(last).intersection(&self.given())
    }

    /// Up to which UID the client knows of everything that is gone: the highest that is still where
    /// it was, since whatever goes below it moves it up. RFC 7162 §3.2.5.2
    pub fn known_up_to(&self, known: &SequenceMatch) -> Option<Uid> {
        known.runs.iter().rev().find_map(|&(number, uid, count)| {
            let room = (self.believed.len() as u64 + 1).saturating_sub(u64::from(number));
            let count = u64::from(count).min(room) as u32;
            // from one to the next, what is here never grows less than what the client knows
            let ahead = |n: u32| self.uid_at(number + n).is_some_and(|here| here.0 > uid + n);
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low + (high - low) / 2;
                if ahead(middle) { high = middle } else { low = middle + 1 }
            }
            let last = Uid(uid + low.checked_sub(1)?);
            (self.uid_at(number + low - 1) == Some(last)).then_some(last)
        })
    }

    /// The UID of the message with this sequence number.
    fn uid_at(&self, number: u32) -> Option<Uid> {
        self.believed.nth(number as usize - 1).map(|entry| entry.uid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imap::rig::Rig;
    use crate::imap::wire::lex::Cursor;

    fn set(text: &str) -> SequenceSet {
        SequenceSet::parse(&mut Cursor::new(text.as_bytes())).expect("a set")
    }

    #[test]
    fn what_does_not_ascend_or_differs_in_length_is_no_match() {
        let is_one = |numbers, uids| SequenceMatch::new(&set(numbers), &set(uids)).is_some();
        assert!(is_one("1:3,9", "5,6:7,20") && is_one("1:4294967295", "1:4294967295"));
        for (numbers, uids) in [("1:3", "1:4"), ("2,1", "1:2"), ("1:2", "2:1"), ("1:*", "1:2")] {
            assert!(!is_one(numbers, uids), "{numbers} {uids}");
        }
        assert!(!is_one("1,1", "1:2") && !is_one("1:2,2", "1:3"));
    }

    fn joined(numbers: &[u32]) -> String {
        numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn a_match_is_the_last_pair_that_holds(
            gone in prop::collection::btree_set(1u32..40, 0..20),
            pairs in prop::collection::btree_map(1u32..45, 1u32..3, 1..20),
        ) {
            let rig = Rig::new();
            rig.fill(40);
            let mailbox = rig.support().id;
            let gone: Vec<u32> = gone.into_iter().collect();
            if !gone.is_empty() {
                let uids = gone.iter().map(|uid| Uid(*uid)).collect();
                rig.commit(vec![crate::store::change::Change::Expunged { mailbox, uids }]);
            }
            let mut client = rig.client("anna");
            rig.send(&mut client, "SELECT Shared/Support");
            let view = &client.selected.as_ref().expect("selected").view;
            // UIDs at growing distances from the numbers
            let mut ahead = 0;
            let pairs: Vec<(u32, u32)> =
                pairs.into_iter().map(|(n, step)| { ahead += step - 1; (n, n + ahead) }).collect();
            let numbers: Vec<u32> = pairs.iter().map(|pair| pair.0).collect();
            let uids: Vec<u32> = pairs.iter().map(|pair| pair.1).collect();
            let known = SequenceMatch::new(&set(&joined(&numbers)), &set(&joined(&uids)));
            let holds = |pair: &&(u32, u32)| view.uid_at(pair.0) == Some(Uid(pair.1));
            let expected = pairs.iter().rfind(holds).map(|pair| Uid(pair.1));
            prop_assert_eq!(view.known_up_to(&known.expect("ascending")), expected);
        }
    }
}
