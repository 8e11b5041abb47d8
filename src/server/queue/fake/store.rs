//! A store in memory whose disk can be full, and which several nodes may share: each handle is a
//! node, with leases and failures beside what is stored, on tokio's clock.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::mail::account::{Account, Folder};
use crate::mail::flag::SeenMode;
use crate::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::audit::{EntryId, Record, Tip};
use crate::store::bell::Bell;
use crate::store::change::{Absences, Change, Grant, Opening, Receipt, Transaction, UsersRights};
use crate::store::memory::Memory;
use crate::store::nodes::{Asks, Duty, FAILURES_WINDOW, LEASE, Published};
use crate::store::overlay::Overlay;
use crate::store::queue::{NewQueued, Queued, RecipientUpdate};
use crate::store::snapshot::Snapshot;
use crate::store::{
    Answer, Facts, FactsWanted, Instance, Mailbox, Metadata, Status, Store, StoreError,
    Subscriptions, Turns, Usage,
};
use crate::sys::Clock;

/// What a database keeps for nodes beside what is stored.
#[derive(Default)]
pub(in crate::server) struct Shelf {
    leases: Mutex<BTreeMap<Duty, (i64, Instant)>>,
    failures: Mutex<HashMap<String, (u32, Instant)>>,
}

impl Shelf {
    fn lease(&self, duty: Duty, node: i64) -> bool {
        let (mut leases, now) = (self.leases.lock().expect("no panic"), Instant::now());
        let is_free = leases.get(&duty).is_none_or(|(of, until)| *of == node || *until <= now);
        if is_free {
            leases.insert(duty, (node, now + LEASE));
        }
        is_free
    }

    fn release(&self, duty: Duty, node: i64) {
        self.leases.lock().expect("no panic").retain(|of, (by, _)| *of != duty || *by != node);
    }

    fn failures(&self, of: &[String], more: u32) -> Vec<u32> {
        let (mut failures, now) = (self.failures.lock().expect("no panic"), Instant::now());
        failures.retain(|_, (_, first)| now < *first + FAILURES_WINDOW);
        let mut count = |key: &String| {
            let entry = failures.entry(key.clone()).or_insert((0, now));
            entry.0 += more;
            entry.0
        };
        of.iter().map(&mut count).collect()
    }

    fn forget(&self, of: &[String]) {
        self.failures.lock().expect("no panic").retain(|key, _| !of.contains(key));
    }
}

/// A store in memory whose disk can be full.
pub(in crate::server) struct FullableStore {
    inner: Arc<Memory>,
    /// What it shares with other nodes, and its own number.
    node: Option<(Arc<Shelf>, i64)>,
    is_cut_off: AtomicBool,
    /// How long its database takes to answer this node.
    slowness: Mutex<Duration>,
    pub(in crate::server) is_full: AtomicBool,
    /// No report that has to leave is taken.
    pub(in crate::server) is_queue_full: AtomicBool,
    /// So many messages are taken.
    pub(in crate::server) queue_max: AtomicUsize,
    pub(in crate::server) refused: AtomicUsize,
}

impl FullableStore {
    pub(in crate::server) fn new(clock: Arc<dyn Clock>) -> Arc<FullableStore> {
        FullableStore::with(Arc::new(Memory::new(clock)), None)
    }

    /// A node on the same store.
    pub(in crate::server) fn node(&self, shelf: &Arc<Shelf>, node: i64) -> Arc<FullableStore> {
        FullableStore::with(self.inner.clone(), Some((shelf.clone(), node)))
    }

    /// Whether the database answers this node.
    pub(in crate::server) fn cut_off(&self, is_cut_off: bool) {
        self.is_cut_off.store(is_cut_off, Ordering::SeqCst);
    }

    /// How long the database takes from now on to answer a commit and to lease.
    pub(in crate::server) fn slow_down(&self, slowness: Duration) {
        *self.slowness.lock().expect("no panic") = slowness;
    }

    /// The answer, that late.
    fn slowly<'a, T: Send + 'a>(&self, answer: Answer<'a, T>) -> Answer<'a, T> {
        let slowness = *self.slowness.lock().expect("no panic");
        if slowness.is_zero() {
            return answer;
        }
        Box::pin(async move {
            let answer = answer.await;
            tokio::time::sleep(slowness).await;
            answer
        })
    }

    fn with(inner: Arc<Memory>, node: Option<(Arc<Shelf>, i64)>) -> Arc<FullableStore> {
        Arc::new(FullableStore {
            inner,
            node,
            is_cut_off: AtomicBool::new(false),
            slowness: Mutex::default(),
            is_full: AtomicBool::new(false),
            is_queue_full: AtomicBool::new(false),
            queue_max: AtomicUsize::new(usize::MAX),
            refused: AtomicUsize::new(0),
        })
    }

    fn reached(&self) -> Result<(), StoreError> {
        match self.is_cut_off.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("cut off".into())),
            false => Ok(()),
        }
    }

    /// As the store's own limit counts: after the changes before it.
    fn has_room(&self, changes: &[Change]) -> bool {
        let is_report =
            |new: &NewQueued| new.envelope.reverse_path.is_none() && new.envelope.sender.is_none();
        let mut length = self.inner.queued_from(QueueId(i64::MIN), usize::MAX).len();
        changes.iter().all(|change| match change {
            Change::Queued(new) => {
                length += 1;
                let is_shut = self.is_queue_full.load(Ordering::SeqCst) && is_report(new);
                !is_shut && length <= self.queue_max.load(Ordering::SeqCst)
            }
            Change::QueueUpdated { recipients, .. } => {
                let is_last = recipients.iter().all(|(_, u)| *u == RecipientUpdate::Done);
                length -= usize::from(is_last);
                true
            }
            _ => true,
        })
    }
}

impl Store for FullableStore {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt> {
        if let Err(error) = self.reached() {
            return Box::pin(std::future::ready(Err(error)));
        }
        if self.is_full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Box::pin(async { Err(StoreError::NoSpace("disk full".into())) });
        }
        if !self.has_room(&transaction.changes) {
            return Box::pin(async { Err(StoreError::Limit("queued messages")) });
        }
        self.slowly(self.inner.commit(transaction))
    }

    fn is_shared(&self) -> bool {
        self.node.is_some()
    }

    fn lease(&self, duty: Duty) -> Answer<'_, bool> {
        let lease = |(shelf, node): &(Arc<Shelf>, i64)| shelf.lease(duty, *node);
        let answer = self.reached().map(|()| self.node.as_ref().is_none_or(lease));
        self.slowly(Box::pin(std::future::ready(answer)))
    }

    fn release(&self, duty: Duty) -> Answer<'_, ()> {
        let answer = self.reached();
        if let (Ok(()), Some((shelf, node))) = (&answer, &self.node) {
            shelf.release(duty, *node);
        }
        Box::pin(std::future::ready(answer))
    }

    fn failures<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        let shelf = self.node.as_ref().map(|(shelf, _)| shelf);
        let count = shelf.map_or_else(|| vec![0; of.len()], |shelf| shelf.failures(of, 0));
        Box::pin(std::future::ready(self.reached().map(|()| count)))
    }

    fn count_failure<'a>(&'a self, of: &'a [String]) -> Answer<'a, Vec<u32>> {
        let count = self.reached().map(|()| match &self.node {
            Some((shelf, _)) => shelf.failures(of, 1),
            None => vec![0; of.len()],
        });
        Box::pin(std::future::ready(count))
    }

    fn forget_failures<'a>(&'a self, of: &'a [String]) -> Answer<'a, ()> {
        let answer = self.reached();
        if let (Ok(()), Some((shelf, _))) = (&answer, &self.node) {
            shelf.forget(of);
        }
        Box::pin(std::future::ready(answer))
    }

    passed_on!();
}
