//! What one user alone has in one mailbox: their own \Seen, with the ModSeq of each change.
//!
//! Kept in blocks of 64 UIDs: a bit each, and the ModSeqs as runs, since people read ranges. Exact:
//! changing one message never raises a neighbour's ModSeq, which would fail UNCHANGEDSINCE falsely.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mail::id::{ModSeq, Uid};

/// One user's \Seen in one mailbox. Immutable once shared; cheap to clone and change.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Overlay {
    blocks: BTreeMap<u32, Arc<Block>>,
    highest_modseq: ModSeq,
}

/// 64 UIDs, from `number * 64`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Block {
    /// Bit n: UID `number * 64 + n` is seen.
    pub seen: u64,
    /// (how many UIDs, their ModSeq or 0), adding up to 64 or ending early (the rest is 0).
    pub runs: Vec<(u8, u64)>,
}

impl Block {
    /// The ModSeq of the n-th UID's own \Seen; 0 where it never changed.
    pub fn modseq(&self, n: u8) -> u64 {
        let mut end = 0u16;
        for (length, modseq) in &self.runs {
            end += u16::from(*length);
            if u16::from(n) < end {
                return *modseq;
            }
        }
        0
    }

    /// Sets the n-th UID's bit and ModSeq.
    pub fn set(&mut self, n: u8, seen: bool, modseq: u64) {
        let mut all: [u64; 64] = [0; 64];
        let mut at = 0;
        for (length, value) in &self.runs {
            for _ in 0..*length {
                all[at] = *value;
                at += 1;
            }
        }
        all[usize::from(n)] = modseq;
        self.seen = if seen { self.seen | 1 << n } else { self.seen & !(1 << n) };
        self.runs.clear();
        for value in all {
            match self.runs.last_mut() {
                Some((length, last)) if *last == value => *length += 1,
                _ => self.runs.push((1, value)),
            }
        }
        if self.runs.last().is_some_and(|(_, modseq)| *modseq == 0) {
            self.runs.pop();
        }
    }
}

impl Overlay {
    /// Whether the user has seen `uid`.
    pub fn seen(&self, uid: Uid) -> bool {
        self.blocks.get(&(uid.0 / 64)).is_some_and(|b| b.seen >> (uid.0 % 64) & 1 == 1)
    }

    /// The ModSeq of the last change of the user's \Seen on `uid`; 0 where there was none.
    pub fn modseq(&self, uid: Uid) -> ModSeq {
        let block = self.blocks.get(&(uid.0 / 64));
        ModSeq(block.map_or(0, |b| b.modseq((uid.0 % 64) as u8)))
    }

    /// How many messages the user has seen; bits of expunged messages are cleared by the store.
    pub fn seen_count(&self) -> u32 {
        self.blocks.values().map(|b| b.seen.count_ones()).sum()
    }

    /// The highest ModSeq of any change in here.
    pub fn highest_modseq(&self) -> ModSeq {
        self.highest_modseq
    }

    /// The UIDs whose \Seen has changed after `since`, ascending.
    pub fn changed_since(&self, since: ModSeq) -> Vec<Uid> {
        let mut changed = Vec::new();
        if self.highest_modseq <= since {
            return changed;
        }
        for (number, block) in &self.blocks {
            let mut n = 0;
            for (length, modseq) in &block.runs {
                let first = number * 64 + n;
                n += u32::from(*length);
                if *modseq > since.0 {
                    changed.extend((first..number * 64 + n).map(Uid));
                }
            }
        }
        changed
    }

    /// The blocks by number, for engines to store.
    pub fn blocks(&self) -> impl Iterator<Item = (u32, &Arc<Block>)> {
        self.blocks.iter().map(|(number, block)| (*number, block))
    }

    /// One block by number.
    pub fn block(&self, number: u32) -> Option<&Arc<Block>> {
        self.blocks.get(&number)
    }

    /// Sets or clears \Seen on `uid`; the ModSeq is that of the change.
    pub fn set(&mut self, uid: Uid, seen: bool, modseq: ModSeq) {
        let block = self.blocks.entry(uid.0 / 64).or_default();
        Arc::make_mut(block).set((uid.0 % 64) as u8, seen, modseq.0);
        self.highest_modseq = self.highest_modseq.max(modseq);
    }

    /// Forgets `uid`, whose message is gone.
    pub fn forget(&mut self, uid: Uid) {
        if let Some(block) = self.blocks.get_mut(&(uid.0 / 64)) {
            Arc::make_mut(block).set((uid.0 % 64) as u8, false, 0);
        }
    }

    /// Puts a stored block in place, when an engine loads.
    pub fn load(&mut self, number: u32, block: Block) {
        let highest = block.runs.iter().map(|(_, modseq)| *modseq).max().unwrap_or(0);
        self.highest_modseq = self.highest_modseq.max(ModSeq(highest));
        self.blocks.insert(number, Arc::new(block));
    }

    /// The UIDs whose \Seen or ModSeq differs between two states of one user's overlay, ascending.
    pub fn changed_uids(old: &Overlay, new: &Overlay) -> Vec<Uid> {
        let mut changed = Vec::new();
        for (number, block) in &new.blocks {
            let before = old.blocks.get(number);
            if before.is_some_and(|b| Arc::ptr_eq(b, block)) {
                continue;
            }
            for n in 0..64u8 {
                let was = before.map_or((0, 0), |b| (b.seen >> n & 1, b.modseq(n)));
                if was != (block.seen >> n & 1, block.modseq(n)) {
                    changed.push(Uid(number * 64 + u32::from(n)));
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbours_modseq_stays() {
        let mut overlay = Overlay::default();
        for uid in 60..70 {
            overlay.set(Uid(uid), true, ModSeq(5));
        }
        let before = overlay.clone();
        overlay.set(Uid(65), false, ModSeq(9));
        assert_eq!(overlay.modseq(Uid(64)), ModSeq(5));
        assert_eq!(overlay.modseq(Uid(65)), ModSeq(9));
        assert_eq!(overlay.modseq(Uid(66)), ModSeq(5));
        assert_eq!(Overlay::changed_uids(&before, &overlay), vec![Uid(65)]);
        assert_eq!(overlay.changed_since(ModSeq(5)), vec![Uid(65)]);
        assert_eq!(overlay.changed_since(ModSeq(4)), (60..70).map(Uid).collect::<Vec<_>>());
        assert_eq!(overlay.changed_since(ModSeq(9)), vec![]);
        assert_eq!(overlay.seen_count(), 9);
        overlay.forget(Uid(66));
        assert!(!overlay.seen(Uid(66)));
    }
}
