//! Hops that have lost commands which came together: they get them one by one.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::PIPELINING_SUSPECTS_MAX;
use crate::outbound::Hop;
use crate::smtp::client::Pipelining;

/// All of them, until the daemon ends.
#[derive(Default)]
pub(super) struct Suspects(Mutex<HashSet<Hop>>);

impl Suspects {
    /// Notes one. When there are too many, all others are forgotten: to be one costs little.
    pub(super) fn add(&self, hop: &Hop) {
        let mut hops = self.lock();
        if hops.len() >= PIPELINING_SUSPECTS_MAX {
            hops.clear();
        }
        hops.insert(hop.clone());
    }

    /// What is right for a hop.
    pub(super) fn pipelining(&self, hop: &Hop) -> Pipelining {
        if self.lock().contains(hop) { Pipelining::Never } else { Pipelining::AsOffered }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Hop>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Login, Security};

    fn hop(number: usize) -> Hop {
        Hop {
            name: format!("mx{number}.example"),
            addresses: Vec::new(),
            security: Security::Off,
            login: Login::None,
            dane: None,
        }
    }

    #[test]
    fn so_many_are_remembered_and_not_one_more() {
        let suspects = Suspects::default();
        assert_eq!(suspects.pipelining(&hop(0)), Pipelining::AsOffered);
        (0..PIPELINING_SUSPECTS_MAX).for_each(|number| suspects.add(&hop(number)));
        assert_eq!(suspects.pipelining(&hop(0)), Pipelining::Never);
        suspects.add(&hop(PIPELINING_SUSPECTS_MAX));
        assert_eq!(suspects.pipelining(&hop(0)), Pipelining::AsOffered);
        assert_eq!(suspects.pipelining(&hop(PIPELINING_SUSPECTS_MAX)), Pipelining::Never);
    }
}
