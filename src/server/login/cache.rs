//! Successes of the last minutes, so that five connections of one mail program cost one
//! verification. Holds no password: an entry is a hash, under a key that lives as long as the
//! process, of login, password and stored hash. A changed stored hash therefore ends it at once.

use std::collections::HashMap;
use std::time::Duration;

use crate::mail::id::Timestamp;

/// How long a success counts.
pub const LIFETIME: Duration = Duration::from_secs(600);
/// Most successes that are remembered.
pub const ENTRIES_MAX: usize = 10_000;

/// What stands for one login, password and stored hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The key of all fingerprints of this process.
#[derive(Clone)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// The fingerprint of parts that belong together; each is told apart from the next.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Fingerprint(*hasher.finalize().as_bytes())
    }
}

impl Fingerprint {
    /// Itself: bytes that nobody can compute without the key.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// A number below `end` (at least 1) that depends on all of the parts.
    pub fn below(self, end: usize) -> usize {
        let mut number = [0; 8];
        number.copy_from_slice(&self.0[..8]);
        usize::try_from(u64::from_le_bytes(number) % end.max(1) as u64).unwrap_or(0)
    }
}

/// Successes with the time of each.
#[derive(Default)]
pub struct Cache(HashMap<Fingerprint, Timestamp>);

impl Cache {
    /// Whether this has succeeded lately.
    pub fn holds(&self, fingerprint: Fingerprint, now: Timestamp) -> bool {
        self.0.get(&fingerprint).is_some_and(|then| is_fresh(*then, now))
    }

    /// Notes a success. A full cache drops what is too old, or else all: it fills up again by
    /// itself.
    pub fn insert(&mut self, fingerprint: Fingerprint, now: Timestamp) {
        if self.0.len() >= ENTRIES_MAX {
            self.0.retain(|_, then| is_fresh(*then, now));
        }
        if self.0.len() >= ENTRIES_MAX {
            self.0.clear();
        }
        self.0.insert(fingerprint, now);
    }
}

/// A success from the future counts as old: the clock was set back.
fn is_fresh(then: Timestamp, now: Timestamp) -> bool {
    let age = now.0.saturating_sub(then.0);
    age >= 0 && (age as u128) < LIFETIME.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    #[test]
    fn a_success_counts_for_ten_minutes() {
        let mut cache = Cache::default();
        let fingerprint = KEY.fingerprint(&[b"anna", b"secret"]);
        let at = Timestamp::from_seconds;
        cache.insert(fingerprint, at(1000));
        assert!(cache.holds(fingerprint, at(1000)) && cache.holds(fingerprint, at(1599)));
        assert!(!cache.holds(fingerprint, at(1600)) && !cache.holds(fingerprint, at(999)));
    }

    #[test]
    fn parts_are_told_apart_and_keys_matter() {
        let fingerprint = KEY.fingerprint(&[b"ab", b"c"]);
        assert!(fingerprint != KEY.fingerprint(&[b"a", b"bc"]));
        assert!(fingerprint != Key([8; 32]).fingerprint(&[b"ab", b"c"]));
        assert!(fingerprint == KEY.fingerprint(&[b"ab", b"c"]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cache = Cache::default();
        for n in 0..=ENTRIES_MAX {
            cache.insert(KEY.fingerprint(&[&n.to_le_bytes()]), Timestamp(0));
            assert!(cache.0.len() <= ENTRIES_MAX);
        }
        assert!(cache.holds(KEY.fingerprint(&[&ENTRIES_MAX.to_le_bytes()]), Timestamp(0)));
    }
}
