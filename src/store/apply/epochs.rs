//! Mailboxes that begin anew: what clients know of their UIDs is not so any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mail::id::{MailboxId, Timestamp};
use crate::store::Mailbox;
use crate::store::state::{Changed, State};

/// New epochs for these mailboxes; nothing else about them changes. RFC 3501 §2.3.1.1
pub fn renewed(state: &State, mailboxes: &BTreeSet<MailboxId>, now: Timestamp) -> Changed {
    let mut changed = Changed::default();
    let mut counters = state.counters();
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
