//! What a group changed, as the log tells other nodes: made of `Changed`, and made into it again on
//! top of the same state elsewhere. Message bytes, facts and trace fields are not in it: readers
//! find them in their tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::delta_mailbox::{self, Header, MailboxRows};
use crate::mail::account::{Account, Folder};
use crate::mail::id::{Login, MailboxId, QueueId, Timestamp};
use crate::store::audit::Tip;
use crate::store::change::{Grant, Opening};
use crate::store::nodes::{Asks, Published, Tenures};
use crate::store::queue::{Queued, QueuedRecipient};
use crate::store::rows::NoteKey;
use crate::store::state::{Changed, Counters, State};

/// One entry of the log. Nodes of one form write and read it: it is never upgraded. Where what it
/// is made of changes, `DELTA_FORM` does.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Delta {
    mailboxes: Vec<(MailboxId, Option<Header>)>,
    rows: BTreeMap<MailboxId, MailboxRows>,
    names: Vec<(Account, Folder, Option<MailboxId>)>,
    subscriptions: Vec<((Login, Account, Folder), bool)>,
    metadata: Vec<(NoteKey, Option<Arc<[u8]>>)>,
    grants: Vec<((Account, Login), Option<String>)>,
    turns: Vec<((Account, Login), u64)>,
    queued: Vec<(QueueId, Option<Arc<Queued>>)>,
    queued_recipients: Vec<((QueueId, u32), Option<QueuedRecipient>)>,
    counters: Option<Counters>,
    audit: Option<Tip>,
    absences: Vec<(Login, Option<Timestamp>)>,
    openings: Vec<((Login, Login), Option<Timestamp>)>,
    directory: Option<Arc<Published>>,
    tenures: Tenures,
    asks: Option<Asks>,
}

impl Delta {
    pub(super) fn of(changed: &Changed) -> Delta {
        let rows = &changed.rows;
        let header = |held: &Option<_>| held.as_ref().map(Header::of);
        let mailboxes = changed.mailboxes.iter();
        let mut mailboxes: Vec<_> = mailboxes.map(|(id, held)| (*id, header(held))).collect();
        mailboxes.sort_unstable_by_key(|(id, _)| *id);
        let names = changed.names.iter();
        let mut names: Vec<_> =
            names.map(|((a, folder), id)| (a.clone(), folder.clone(), *id)).collect();
        names.sort_unstable();
        Delta {
            mailboxes,
            rows: delta_mailbox::by_mailbox(rows),
            names,
            subscriptions: pairs(&rows.subscriptions),
            metadata: pairs(&rows.metadata),
            grants: pairs(&rows.grants),
            turns: pairs(&rows.turns),
            queued: pairs(&rows.queued),
            queued_recipients: pairs(&rows.queued_recipients),
            counters: changed.counters,
            audit: changed.audit,
            absences: pairs(&rows.absences),
            openings: pairs(&rows.openings),
            directory: changed.directory.clone(),
            tenures: changed.tenures.clone(),
            asks: changed.asks.clone(),
        }
    }

    /// How many messages `onto` will go through, roughly.
    pub(super) fn rows_touched(&self, state: &State) -> usize {
        let in_mailbox = |(id, rows): (&MailboxId, &MailboxRows)| {
            rows.touched(state.held(*id).and_then(|held| held.loaded().ok()))
        };
        self.rows.iter().map(in_mailbox).sum()
    }

    /// What is to be published where it was not written. The state is the one that it was made on.
    pub(super) fn onto(self, state: &State) -> Changed {
        let mut changed = Changed {
            names: self.names.into_iter().map(|(a, folder, id)| ((a, folder), id)).collect(),
            counters: self.counters,
            audit: self.audit,
            directory: self.directory,
            tenures: self.tenures,
            asks: self.asks,
            ..Changed::default()
        };
        let mut rows = self.rows;
        for (id, header) in self.mailboxes {
            let own = rows.remove(&id).unwrap_or_default();
            let held = header.map(|header| header.onto(id, state.held(id), own));
            changed.mailboxes.insert(id, held);
        }
        for ((user, account, folder), subscribed) in self.subscriptions {
            let before = || state.subscriptions(&user).cloned().unwrap_or_default();
            let choices = changed.subscriptions.entry(user.clone()).or_insert_with(before);
            Arc::make_mut(choices).insert((account, folder), subscribed);
        }
        for ((user, mailbox, entry), value) in self.metadata {
            let before = || state.metadata(user.as_ref()).cloned().unwrap_or_default();
            let notes = Arc::make_mut(changed.metadata.entry(user.clone()).or_insert_with(before));
            match value {
                Some(value) => drop(notes.insert((mailbox, entry), value)),
                None => drop(notes.remove(&(mailbox, entry))),
            }
        }
        for ((account, user), number) in self.turns {
            let before = || state.turns(&account);
            let turns = changed.turns.entry(account.clone()).or_insert_with(before);
            Arc::make_mut(turns).insert(user, number);
        }
        changed.grants = grants(self.grants, state);
        changed.queue = queue(self.queued, self.queued_recipients, state);
        changed.absences = absences(self.absences, state);
        changed.openings = openings(self.openings, state);
        changed
    }
}

/// Whether a group has written nothing: what it changed is in memory alone.
pub(super) fn is_in_memory_alone(changed: &Changed, state: &State) -> bool {
    let same = |(id, held): (&MailboxId, &Option<_>)| match (held, state.held(*id)) {
        (Some(now), Some(before)) => Header::of(now) == Header::of(before),
        _ => false,
    };
    changed.rows.is_empty()
        && changed.names.is_empty()
        && changed.counters.is_none()
        && changed.audit.is_none()
        && changed.directory.is_none()
        && changed.tenures.is_empty()
        && changed.asks.is_none()
        && changed.mailboxes.iter().all(same)
}

fn pairs<K: Clone, V: Clone>(rows: &BTreeMap<K, V>) -> Vec<(K, V)> {
    rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn grants(rows: Vec<((Account, Login), Option<String>)>, state: &State) -> Option<Arc<Vec<Grant>>> {
    if rows.is_empty() {
        return None;
    }
    let mut grants = (**state.grants()).clone();
    for ((account, user), rights) in rows {
        grants.retain(|grant| (&grant.account, &grant.user) != (&account, &user));
        if rights.is_some() {
            grants.push(Grant { account, user, rights });
        }
    }
    grants.sort_by(|a, b| (&a.account, &a.user).cmp(&(&b.account, &b.user)));
    Some(Arc::new(grants))
}

/// Recipients stand in their message as they were when it was queued; their own rows say more.
fn queue(
    queued: Vec<(QueueId, Option<Arc<Queued>>)>,
    recipients: Vec<((QueueId, u32), Option<QueuedRecipient>)>,
    state: &State,
) -> BTreeMap<QueueId, Option<Arc<Queued>>> {
    let mut queue: BTreeMap<_, _> = queued.into_iter().collect();
    for ((id, number), row) in recipients {
        let before = || state.queue().get(&id).cloned();
        let Some(queued) = queue.entry(id).or_insert_with(before) else { continue };
        let there = &mut Arc::make_mut(queued).recipients;
        match (there.binary_search_by_key(&number, |recipient| recipient.number), row) {
            (Ok(at), Some(row)) => there[at] = row,
            (Ok(at), None) => drop(there.remove(at)),
            (Err(at), Some(row)) => there.insert(at, row),
            (Err(_), None) => {}
        }
    }
    queue
}

fn absences(
    rows: Vec<(Login, Option<Timestamp>)>,
    state: &State,
) -> Option<Arc<BTreeMap<Login, Timestamp>>> {
    if rows.is_empty() {
        return None;
    }
    let mut absences = (**state.absences()).clone();
    for (user, until) in rows {
        match until {
            Some(until) => drop(absences.insert(user, until)),
            None => drop(absences.remove(&user)),
        }
    }
    Some(Arc::new(absences))
}

fn openings(
    rows: Vec<((Login, Login), Option<Timestamp>)>,
    state: &State,
) -> Option<Arc<Vec<Opening>>> {
    if rows.is_empty() {
        return None;
    }
    let mut openings = (**state.openings()).clone();
    for ((user, of), until) in rows {
        openings.retain(|opening| (&opening.user, &opening.of) != (&user, &of));
        if let Some(until) = until {
            openings.push(Opening { user, of, until });
        }
    }
    Some(Arc::new(openings))
}
