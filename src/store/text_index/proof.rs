//! That a segment says of each message what the message's text says. A word is found in it by a way
//! of its own: numbered, put into a block, its messages as distances; none of that is taken on
//! trust. For each text the sum of the hashes of its words is made from the text alone, and when
//! the file is written, the same sums are made from what is read of it. A word that is missing of
//! a message, or one too many, and they differ.
//!
//! The keys are random, so that nobody can write a message whose sum is right by another set of
//! words.

use std::hash::{BuildHasher, RandomState};

use crate::mail::words::words;

/// The sums of some texts, in the order in which they were added.
#[derive(Default)]
pub(super) struct Proof {
    keys: RandomState,
    sums: Vec<u64>,
    /// Used again for each text.
    hashes: Vec<u64>,
}

impl Proof {
    /// Adds the next text; `None`: one that no segment says anything about.
    pub(super) fn add(&mut self, text: Option<&str>) {
        self.hashes.clear();
        let found =
            text.into_iter().flat_map(words).map(|word| self.keys.hash_one(word.as_bytes()));
        self.hashes.extend(found);
        self.hashes.sort_unstable();
        self.hashes.dedup();
        self.sums.push(self.hashes.iter().fold(0, |sum, hash| sum.wrapping_add(*hash)));
    }

    /// What a word adds to the sum of each text in which it is.
    pub(super) fn hash(&self, word: &[u8]) -> u64 {
        self.keys.hash_one(word)
    }

    /// The sums, by text.
    pub(super) fn sums(&self) -> &[u64] {
        &self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_words_each_once() {
        let mut proof = Proof::default();
        proof.add(Some("ONE TWO, ONE"));
        proof.add(Some("two"));
        proof.add(None);
        let both = proof.hash(b"ONE").wrapping_add(proof.hash(b"TWO"));
        assert_eq!(proof.sums(), [both, proof.hash(b"two"), 0]);
        let other = Proof::default();
        assert_ne!(other.hash(b"ONE"), proof.hash(b"ONE"));
    }
}
