//! What readers of every engine are given: the state, who watches it, and \Recent. An engine keeps
//! one behind a lock. Knows no table and no file.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use super::bell::{Belfry, Bell};
use super::nodes::Asks;
use super::queue::Queued;
use super::state::{Changed, Held, Loaded, State};
use super::{Mailbox, Metadata, Status, StoreError, Subscriptions};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{Login, MailboxId, ModSeq, QueueId, Uid};

/// The state and its readers.
#[derive(Debug)]
pub(super) struct Board {
    /// What is committed.
    pub(super) state: State,
    watches: HashMap<MailboxId, watch::Sender<ModSeq>>,
    tree: watch::Sender<u64>,
    queue: watch::Sender<QueueId>,
    asks: watch::Sender<Asks>,
    recent: HashMap<MailboxId, HashMap<Login, Uid>>,
    shown_in: ShownIn,
    bells: Belfry,
}

/// Which virtual mailboxes show a mailbox.
#[derive(Debug, Default)]
struct ShownIn {
    by_source: HashMap<MailboxId, BTreeSet<MailboxId>>,
    sources: HashMap<MailboxId, Vec<MailboxId>>,
}

impl ShownIn {
    /// A virtual mailbox shows these from now on.
    fn set(&mut self, shown_in: MailboxId, sources: Vec<MailboxId>) {
        if self.sources.get(&shown_in).is_some_and(|before| *before == sources) {
            return;
        }
        self.forget(shown_in);
        for source in &sources {
            self.by_source.entry(*source).or_default().insert(shown_in);
        }
        self.sources.insert(shown_in, sources);
    }

    fn forget(&mut self, shown_in: MailboxId) {
        for source in self.sources.remove(&shown_in).unwrap_or_default() {
            if let Some(showing) = self.by_source.get_mut(&source) {
                showing.remove(&shown_in);
            }
        }
    }
}

impl Board {
    pub(super) fn new(state: State) -> Board {
        let tree = watch::Sender::new(0);
        let queue = watch::Sender::new(QueueId(state.counters().queue));
        Board {
            state,
            watches: HashMap::new(),
            tree,
            queue,
            asks: watch::Sender::default(),
            recent: HashMap::new(),
            shown_in: ShownIn::default(),
            bells: Belfry::default(),
        }
    }

    /// Shows what is committed, and wakes who waits for it.
    pub(super) fn publish(&mut self, changed: Changed) {
        let touched: Vec<(MailboxId, Option<ModSeq>)> = changed
            .mailboxes
            .iter()
            .map(|(id, held)| (*id, held.as_ref().map(|held| held.highest_modseq)))
            .collect();
        for (id, held) in &changed.mailboxes {
            let mirror =
                held.as_ref().and_then(|held| held.loaded().ok()?.snapshot.mirror.as_ref());
            if let Some(mirror) = mirror {
                self.shown_in.set(*id, mirror.sources().collect());
            }
        }
        let tree = changed.changes_tree();
        let counters = changed.counters;
        let before = |id: &MailboxId| self.state.held(*id).map(|held| held.highest_modseq);
        let known: Vec<Option<ModSeq>> = touched.iter().map(|(id, _)| before(id)).collect();
        for (id, held) in &changed.mailboxes {
            if held.as_ref().is_some_and(|held| self.has_other_epoch(held)) {
                self.forget(*id);
            }
        }
        self.ring_for_people(&changed);
        let asks = changed.asks.clone();
        self.state.publish(changed);
        for ((id, modseq), before) in touched.into_iter().zip(known) {
            match modseq {
                Some(modseq) => {
                    self.wake(id, modseq);
                    if before != Some(modseq) {
                        self.bells.mailbox_changed(id);
                    }
                }
                None => {
                    self.watches.remove(&id);
                    self.recent.remove(&id);
                    self.shown_in.forget(id);
                    self.bells.forget(id);
                }
            }
            // who watches a virtual mailbox has to look what there is
            for shown_in in self.shown_in.by_source.get(&id).into_iter().flatten() {
                if let Some(sender) = self.watches.get(shown_in) {
                    sender.send_modify(|_| {});
                }
                self.bells.mailbox_changed(*shown_in);
            }
        }
        if tree {
            self.tree.send_modify(|count| *count += 1);
        }
        if let Some(asks) = asks {
            self.asks.send_replace(asks);
        }
        if let Some(queued) = counters.map(|counters| QueueId(counters.queue)) {
            self.queue.send_if_modified(|last| std::mem::replace(last, queued) != queued);
        }
    }

    /// Whether the mailbox has begun anew: its UIDs mean something else.
    fn has_other_epoch(&self, held: &Held) -> bool {
        let before = self.state.held(held.mailbox.id);
        before.is_some_and(|before| before.mailbox.uid_validity != held.mailbox.uid_validity)
    }

    /// Ends the watches of a mailbox, and what sessions of it have claimed.
    fn forget(&mut self, id: MailboxId) {
        self.watches.remove(&id);
        self.recent.remove(&id);
    }

    /// Who watches sees the new state: it is published before the lock is given up.
    fn ring_for_people(&mut self, changed: &Changed) {
        if !changed.names.is_empty() || changed.grants.is_some() {
            self.bells.names_changed();
        }
        changed.subscriptions.keys().for_each(|user| self.bells.subscriptions_changed(user));
        changed.metadata.keys().for_each(|user| self.bells.notes_changed(user.as_ref()));
    }

    /// The bell rings for changes of these from now on; one that is new, for names and notes, too.
    pub(super) fn attach(&mut self, bell: &Arc<Bell>, mailboxes: &[MailboxId]) {
        if Arc::weak_count(bell) == 0 {
            self.bells.hang(bell);
        }
        for id in mailboxes.iter().filter(|id| self.state.held(**id).is_some()) {
            self.bells.attach(bell, *id);
        }
    }

    /// Shows a state that was loaded whole, in place of one from which no list of changes leads to
    /// it; wakes everybody who may find something new.
    pub(super) fn replace(&mut self, mut state: State) {
        state.succeed(&self.state);
        let others = state.all().filter(|held| self.has_other_epoch(held));
        let others: Vec<MailboxId> = others.map(|held| held.mailbox.id).collect();
        others.into_iter().for_each(|id| self.forget(id));
        self.state = state;
        let gone = |id: &MailboxId| self.state.held(*id).is_none();
        let deleted: Vec<MailboxId> = self.watches.keys().copied().filter(gone).collect();
        for id in deleted {
            self.watches.remove(&id);
            self.recent.remove(&id);
            self.shown_in.forget(id);
        }
        self.bells.everything_changed();
        for (id, sender) in &self.watches {
            if let Some(held) = self.state.held(*id) {
                sender.send_replace(held.highest_modseq);
            }
        }
        self.tree.send_modify(|count| *count += 1);
        self.queue.send_replace(QueueId(self.state.counters().queue));
    }

    pub(super) fn watch_asks(&self) -> watch::Receiver<Asks> {
        self.asks.subscribe()
    }

    fn wake(&self, id: MailboxId, modseq: ModSeq) {
        if let Some(sender) = self.watches.get(&id) {
            sender.send_if_modified(|last| std::mem::replace(last, modseq) != modseq);
        }
    }

    pub(super) fn find(&self, account: &Account, folder: &Folder) -> Option<Arc<Mailbox>> {
        self.mailbox(self.state.find(account, folder)?)
    }

    pub(super) fn mailbox(&self, id: MailboxId) -> Option<Arc<Mailbox>> {
        self.state.held(id).map(|held| held.mailbox.clone())
    }

    pub(super) fn subscriptions(&self, user: &Login) -> Arc<Subscriptions> {
        self.state.subscriptions(user).cloned().unwrap_or_default()
    }

    pub(super) fn metadata(&self, user: Option<&Login>) -> Arc<Metadata> {
        self.state.metadata(user).cloned().unwrap_or_default()
    }

    /// The counts of `loaded`, which is or was the mailbox's contents a moment ago.
    pub(super) fn status(
        &self,
        loaded: &Loaded,
        user: &Login,
        seen: SeenMode,
    ) -> Result<Status, StoreError> {
        let snapshot = &loaded.snapshot;
        let held = self.state.held(snapshot.mailbox).ok_or(StoreError::Gone)?;
        let totals = snapshot.totals();
        let seen = match seen {
            SeenMode::PerUser => loaded.overlays.get(user).map_or(0, |o| o.seen_count()),
            SeenMode::Shared => totals.seen,
        };
        let recent_from = self.recent_from(held, user);
        let old = snapshot.position(recent_from).unwrap_or_else(|at| at) as u32;
        Ok(Status {
            messages: totals.messages,
            unseen: totals.messages.saturating_sub(seen),
            deleted: totals.deleted,
            uid_next: snapshot.uid_next,
            uid_validity: snapshot.uid_validity,
            highest_modseq: snapshot.highest_modseq,
            size_bytes: totals.size_bytes,
            deleted_bytes: totals.deleted_bytes,
            recent: totals.messages.saturating_sub(old),
        })
    }

    pub(super) fn claim_recent(&mut self, id: MailboxId, user: &Login) -> Uid {
        let Some(held) = self.state.held(id) else { return Uid(u32::MAX) };
        let (from, next) = (self.recent_from(held, user), held.uid_next);
        self.recent.entry(id).or_default().insert(user.clone(), next);
        from
    }

    fn recent_from(&self, held: &Held, user: &Login) -> Uid {
        let claimed = self.recent.get(&held.mailbox.id).and_then(|users| users.get(user));
        claimed.copied().unwrap_or(held.recent_from)
    }

    /// A mailbox that does not exist gives a watch that has ended.
    pub(super) fn watch(&mut self, id: MailboxId) -> watch::Receiver<ModSeq> {
        let Some(held) = self.state.held(id) else { return watch::channel(ModSeq(0)).1 };
        let sender = self.watches.entry(id);
        sender.or_insert_with(|| watch::Sender::new(held.highest_modseq)).subscribe()
    }

    pub(super) fn queued(&self, id: QueueId) -> Option<Arc<Queued>> {
        self.state.queue().get(&id).cloned()
    }

    pub(super) fn queued_from(&self, first: QueueId, max: usize) -> Vec<Arc<Queued>> {
        self.state.queue().range(first..).take(max).map(|(_, queued)| queued.clone()).collect()
    }

    pub(super) fn watch_queue(&self) -> watch::Receiver<QueueId> {
        self.queue.subscribe()
    }

    pub(super) fn watch_tree(&self) -> watch::Receiver<u64> {
        self.tree.subscribe()
    }
}
