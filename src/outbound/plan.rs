//! From a queued message to the attempts it needs: its recipients by their way. Pure.

use std::collections::BTreeMap;

use super::routes::{Route, Routes};
use super::schedule::{Case, Policy};
use crate::mail::id::Timestamp;
use crate::store::queue::{Queued, QueuedRecipient};

/// Recipients of one message that go the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Where to.
    pub route: Route,
    /// When the first of them is due.
    pub due: Timestamp,
    /// When the sender has to be told something even if no attempt can be made.
    pub deadline: Timestamp,
}

/// What a message needs; nothing while an operator holds it, or all mail.
pub fn plan(queued: &Queued, routes: &Routes, policy: &Policy) -> Vec<Planned> {
    let mut planned: BTreeMap<Route, (Timestamp, Timestamp)> = BTreeMap::new();
    for recipient in queued.recipients.iter().filter(|recipient| !recipient.progress.held) {
        let route = routes.of(recipient);
        if route == Route::Held {
            continue;
        }
        let due = recipient.progress.next_attempt;
        let deadline = Case { envelope: &queued.envelope, recipient, policy }.deadline();
        let entry = planned.entry(route).or_insert((due, deadline));
        *entry = (entry.0.min(due), entry.1.min(deadline));
    }
    let all = planned.into_iter();
    all.map(|(route, (due, deadline))| Planned { route, due, deadline }).collect()
}

/// The recipients that go this way and are due.
pub fn due<'a>(
    queued: &'a Queued,
    routes: &'a Routes,
    (route, now): (&'a Route, Timestamp),
) -> impl Iterator<Item = &'a QueuedRecipient> {
    queued.recipients.iter().filter(move |recipient| {
        let progress = &recipient.progress;
        !progress.held && progress.next_attempt <= now && routes.of(recipient) == *route
    })
}
