//! A store in memory whose commits a test can hold back or let fail.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use postfach::mail::account::{Account, Folder};
use postfach::mail::flag::SeenMode;
use postfach::mail::id::{BlobId, Login, MailboxId, ModSeq, QueueId, Timestamp, TraceId, Uid};
use postfach::mail::uid_set::UidSet;
use postfach::store::audit::{EntryId, Record, Tip};
use postfach::store::bell::Bell;
use postfach::store::change::{Absences, Grant, Opening, Receipt, Transaction, UsersRights};
use postfach::store::memory::Memory;
use postfach::store::nodes::{Asks, Duty, Published};
use postfach::store::overlay::Overlay;
use postfach::store::queue::Queued;
use postfach::store::snapshot::Snapshot;
use postfach::store::{
    Answer, Facts, FactsWanted, Instance, Mailbox, Metadata, Status, Store, StoreError,
    Subscriptions, Turns, Usage,
};
use tokio::sync::{Semaphore, watch};

/// Passes everything on.
pub(crate) struct Gate {
    pub(crate) inner: Memory,
    /// A commit takes one permit.
    pub(crate) commits: Semaphore,
    /// What the next commits answer instead.
    pub(crate) failures: Mutex<Vec<StoreError>>,
    /// What somebody else commits just before the next commit.
    pub(crate) sooner: Mutex<Option<Transaction>>,
}

impl Gate {
    pub(crate) fn new(inner: Memory) -> Arc<Gate> {
        let commits = Semaphore::new(100_000);
        Arc::new(Gate { inner, commits, failures: Mutex::default(), sooner: Mutex::default() })
    }

    /// Holds back every commit from now on; those that tests let through need
    /// `commits.add_permits`.
    pub(crate) fn hold(&self) {
        self.commits.forget_permits(usize::MAX >> 3);
    }

    pub(crate) fn fail_next(&self, error: StoreError) {
        self.failures.lock().expect("not poisoned").push(error);
    }
}

impl Store for Gate {
    fn commit(&self, transaction: Transaction) -> Answer<'_, Receipt> {
        Box::pin(async move {
            self.commits.acquire().await.expect("open").forget();
            let sooner = self.sooner.lock().expect("not poisoned").take();
            if let Some(sooner) = sooner {
                self.inner.commit(sooner).await.expect("commits");
            }
            let failure = self.failures.lock().expect("not poisoned").pop();
            match failure {
                Some(error) => Err(error),
                None => self.inner.commit(transaction).await,
            }
        })
    }

    passed_on!();
}
