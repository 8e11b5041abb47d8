//! The suite that every engine passes: what the trait promises, told as behaviour. Knows an engine
//! only as a `dyn Store` on a clock that stands still. A new engine adds one line to `engines`.

#![allow(clippy::expect_used)]

mod audit;
mod contents;
pub(super) mod engines;
mod epochs;
mod flags;
mod folders;
mod follow;
mod history;
pub(super) mod lookup;
mod metadata;
mod mirror;
mod model;
pub(super) mod moving;
pub(in crate::store) mod nodes;
pub(super) mod queue;
mod random;
pub(crate) mod stand;

use std::sync::Arc;

use super::change::{
    Actor, Bytes, Change, Delivered, FlagOperation, NewMessage, Outcome, Transaction, Transfer,
};
use super::overlay::Overlay;
use super::snapshot::{Entry, Snapshot};
use super::{Store, StoreError};
use crate::mail::account::{Account, Folder};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{Login, MailboxId, ModSeq, Timestamp, Uid};
use crate::mail::message::{Envelope, Parsed, SearchText};
use crate::mail::uid_set::UidSet;
use crate::sys::ManualClock;

/// A store under test.
pub(super) struct Bench {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
}

/// A day when the tests start.
pub(super) const START: i64 = 1_790_000_000;

impl Bench {
    pub(super) async fn commit(&self, changes: Vec<Change>) -> Result<Vec<Outcome>, StoreError> {
        let transaction = Transaction { actor: Actor::System, changes };
        self.store.commit(transaction).await.map(|receipt| receipt.outcomes)
    }

    /// Commits one change and gives its outcome.
    pub(super) async fn one(&self, change: Change) -> Outcome {
        self.commit(vec![change]).await.expect("commits").remove(0)
    }

    pub(super) async fn create(&self, account: &Account, path: &str) -> MailboxId {
        let change = Change::MailboxCreated { account: account.clone(), folder: Folder::new(path) };
        match self.one(change).await {
            Outcome::Created(id) => id,
            other => panic!("not created: {other:?}"),
        }
    }

    pub(super) async fn inbox(&self) -> MailboxId {
        self.create(&inbox("Support"), "").await
    }

    pub(super) async fn deliver(&self, mailbox: MailboxId, text: &str) -> Uid {
        stored(&self.one(delivery(mailbox, text)).await)
    }

    pub(super) async fn deliver_many(&self, mailbox: MailboxId, count: u32) {
        let changes = (1..=count).map(|n| delivery(mailbox, &format!("message {n}"))).collect();
        self.commit(changes).await.expect("commits");
    }

    pub(super) async fn snapshot(&self, mailbox: MailboxId) -> Arc<Snapshot> {
        self.store.snapshot(mailbox).await.expect("exists")
    }

    pub(super) async fn entry(&self, mailbox: MailboxId, uid: u32) -> Entry {
        self.snapshot(mailbox).await.by_uid(Uid(uid)).expect("exists").clone()
    }

    pub(super) async fn uids(&self, mailbox: MailboxId) -> Vec<u32> {
        self.snapshot(mailbox).await.iter().map(|entry| entry.uid.0).collect()
    }

    pub(super) async fn overlay(&self, mailbox: MailboxId, user: &str) -> Arc<Overlay> {
        self.store.overlay(mailbox, &login(user)).await.expect("exists")
    }

    pub(super) async fn unseen(&self, mailbox: MailboxId, user: &str) -> u32 {
        let status = self.store.status(mailbox, &login(user), SeenMode::PerUser).await;
        status.expect("exists").unseen
    }

    /// Sets a user's own \Seen; which were refused.
    pub(super) async fn see(&self, mailbox: MailboxId, user: &str, set: &str) -> UidSet {
        self.see_if(mailbox, (user, set), None).await
    }

    pub(super) async fn see_if(
        &self,
        mailbox: MailboxId,
        (user, set): (&str, &str),
        unchanged_since: Option<ModSeq>,
    ) -> UidSet {
        let (user, uids) = (login(user), uids(set));
        let change = Change::SeenSet { mailbox, user, uids, seen: true, unchanged_since };
        refused(&self.one(change).await)
    }

    pub(super) async fn flag(&self, mailbox: MailboxId, set: &str, flags: FlagList) -> UidSet {
        refused(&self.one(add_flags(mailbox, set, flags)).await)
    }

    pub(super) async fn expunge(&self, mailbox: MailboxId, set: &str) -> UidSet {
        match self.one(Change::Expunged { mailbox, uids: uids(set) }).await {
            Outcome::Expunged { uids } => uids,
            other => panic!("not expunged: {other:?}"),
        }
    }
}

pub(super) fn login(name: &str) -> Login {
    Login::new(name)
}

pub(super) fn inbox(name: &str) -> Account {
    Account::Inbox(name.into())
}

pub(super) fn personal(name: &str) -> Account {
    Account::User(login(name))
}

/// As in a client's command: `1:3,7`.
pub(super) fn uids(set: &str) -> UidSet {
    let mut uids = UidSet::new();
    for range in set.split(',') {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let number = |text: &str| Uid(text.parse().unwrap_or(u32::MAX));
        uids.insert_range(number(first), number(last));
    }
    uids
}

pub(super) fn message(text: &str) -> NewMessage {
    let fields = format!("Subject: {text}\r\n");
    let bytes = format!("{fields}\r\n{text}\r\n").into_bytes();
    let subject = Some(text.as_bytes().to_vec());
    let search = SearchText { header: fields.to_lowercase(), body: text.to_lowercase() };
    NewMessage {
        hash: *blake3::hash(&bytes).as_bytes(),
        bytes: Bytes::Memory(Arc::new(bytes)),
        parsed: Arc::new(Parsed {
            envelope: Envelope { subject, ..Envelope::default() },
            fields: fields.into_bytes(),
            text: search,
            preview: format!("{}, in short", text.replace("message", "Message")),
            ..Parsed::default()
        }),
    }
}

pub(super) fn delivered(mailbox: MailboxId, text: &str) -> Delivered {
    Delivered {
        mailbox,
        message: message(text),
        trace: format!("Delivered-To: {}@example.org\r\n", mailbox.0).into_bytes(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: Timestamp::from_seconds(START),
        thread: None,
        duplicate_key: None,
    }
}

pub(super) fn delivery(mailbox: MailboxId, text: &str) -> Change {
    Change::Delivered(Box::new(delivered(mailbox, text)))
}

pub(super) fn keywords(names: &[&str]) -> FlagList {
    let keywords = names.iter().map(|name| name.to_string()).collect();
    FlagList { system: SystemFlags::NONE, keywords }
}

pub(super) fn system(flags: SystemFlags) -> FlagList {
    FlagList { system: flags, keywords: Vec::new() }
}

pub(super) fn add_flags(mailbox: MailboxId, set: &str, flags: FlagList) -> Change {
    set_flags(mailbox, set, (FlagOperation::Add, flags))
}

pub(super) fn set_flags(
    mailbox: MailboxId,
    set: &str,
    (operation, flags): (FlagOperation, FlagList),
) -> Change {
    let uids = uids(set);
    Change::FlagsSet { mailbox, uids, operation, flags, unchanged_since: None, viewer: None }
}

/// anna copies or moves.
pub(super) fn transfer(
    (from, from_seen): (MailboxId, SeenMode),
    (to, to_seen): (MailboxId, SeenMode),
    set: &str,
) -> Transfer {
    Transfer { from, from_seen, uids: uids(set), to, to_seen, user: login("anna") }
}

pub(super) fn stored(outcome: &Outcome) -> Uid {
    match outcome {
        Outcome::Stored { uid, .. } => *uid,
        other => panic!("not stored: {other:?}"),
    }
}

pub(super) fn refused(outcome: &Outcome) -> UidSet {
    match outcome {
        Outcome::Flags { refused } => refused.clone(),
        other => panic!("no flags: {other:?}"),
    }
}
