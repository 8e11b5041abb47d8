//! Mailboxes that begin anew: what clients know of their UIDs is not so any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Draft, Outcome};
use crate::mail::id::{MailboxId, Timestamp};
use crate::store::state::{Changed, State};
use crate::store::{Mailbox, StoreError};

impl Draft<'_> {
    /// Those that an earlier transaction of the group has made are among them.
    pub(super) fn epochs_renewed(&mut self) -> Result<Outcome, StoreError> {
        let before = self.base.state.all().map(|held| held.mailbox.id);
        let new = self.group.mailboxes.keys().chain(self.own.mailboxes.keys()).copied();
        let all: BTreeSet<MailboxId> = before.chain(new).collect();
        self.counters().leap();
        for id in all {
            if self.held(id).is_err() {
                continue;
            }
            let now = self.base.now;
            let uid_validity = self.counters().next_uid_validity(now);
            let held = self.held_mut(id)?;
            held.mailbox = Arc::new(Mailbox { uid_validity, ..(*held.mailbox).clone() });
            held.raise();
        }
        Ok(Outcome::Done)
    }
}

/// New epochs for these mailboxes; nothing else about them changes. What comes from now on has
/// numbers that nothing had before. RFC 3501 §2.3.1.1
pub fn renewed(state: &State, mailboxes: &BTreeSet<MailboxId>, now: Timestamp) -> Changed {
    let mut changed = Changed::default();
    let mut counters = state.counters();
    counters.leap();
    for id in mailboxes {
        let Some(mut held) = state.held(*id).cloned() else { continue };
        let uid_validity = counters.next_uid_validity(now);
        held.mailbox = Arc::new(Mailbox { uid_validity, ..(*held.mailbox).clone() });
        // contents of before are not put in place any more
        held.raise();
        held.settle();
        changed.mailboxes.insert(*id, Some(held));
    }
    changed.counters = Some(counters);
    changed
}
