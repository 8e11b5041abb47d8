//! What tests of a store need: a mailbox, and mail in it.

use std::sync::Arc;

use postfach::mail::account::{Account, Folder};
use postfach::mail::flag::FlagList;
use postfach::mail::id::{MailboxId, Timestamp};
use postfach::mail::message::parse;
use postfach::store::Store;
use postfach::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Outcome, Transaction};

pub(crate) async fn commit(store: &dyn Store, changes: Vec<Change>) -> Vec<Outcome> {
    let transaction = Transaction { actor: Actor::Delivery, changes };
    store.commit(transaction).await.expect("commits").outcomes
}

/// Of the inbox Support.
pub(crate) async fn mailbox(store: &dyn Store) -> MailboxId {
    let account = Account::Inbox("Support".into());
    let made = Change::MailboxCreated { account, folder: Folder::root() };
    match commit(store, vec![made]).await.as_slice() {
        [Outcome::Created(id)] => *id,
        other => panic!("{other:?}"),
    }
}

/// A message without trace fields or flags.
pub(crate) fn delivered(mailbox: MailboxId, bytes: Vec<u8>) -> Delivered {
    Delivered {
        mailbox,
        message: NewMessage {
            hash: *blake3::hash(&bytes).as_bytes(),
            parsed: Arc::new(parse(&bytes)),
            bytes: Bytes::Memory(Arc::new(bytes)),
        },
        trace: Vec::new(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: Timestamp(1),
        thread: None,
        duplicate_key: None,
    }
}
