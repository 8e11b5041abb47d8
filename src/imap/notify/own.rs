//! What a client has done itself, which it is not told again. RFC 5465 §5

use crate::mail::account::{Account, Folder};
use crate::mail::id::{MailboxId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, Outcome};

/// One thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Own {
    /// Messages were put into a mailbox.
    Put(MailboxId, Vec<Uid>),
    /// A mailbox was made, renamed or deleted.
    Named(MailboxId),
    /// A folder was subscribed, or not any more.
    Subscribed(Account, Folder),
    /// Something was noted, of a mailbox or of the server (`None`).
    Noted(Option<MailboxId>, String),
}

/// What a change will be, once its outcome is known.
pub enum Sketch {
    /// Nothing of which others would be told.
    Nothing,
    /// Messages come into this mailbox.
    Into(MailboxId),
    /// A mailbox is made.
    Created,
    /// All is known already.
    Known(Own),
}

impl Sketch {
    /// Of a change that is about to be made.
    pub fn of(change: &Change) -> Sketch {
        use crate::store::change::About;
        match change {
            Change::Delivered(delivered) => Sketch::Into(delivered.mailbox),
            Change::Copied(transfer) | Change::Moved(transfer) => Sketch::Into(transfer.to),
            Change::MailboxCreated { .. } => Sketch::Created,
            Change::MailboxRenamed { mailbox, .. } | Change::MailboxDeleted { mailbox } => {
                Sketch::Known(Own::Named(*mailbox))
            }
            Change::Subscribed { account, folder, .. } => {
                Sketch::Known(Own::Subscribed(account.clone(), folder.clone()))
            }
            Change::MetadataSet { about, entry, .. } => match about {
                About::Mailbox(id) => Sketch::Known(Own::Noted(Some(*id), entry.clone())),
                About::Server => Sketch::Known(Own::Noted(None, entry.clone())),
                About::Folder(..) => Sketch::Nothing,
            },
            _ => Sketch::Nothing,
        }
    }

    /// Now that it is made.
    pub fn done(self, outcome: &Outcome) -> Option<Own> {
        match (self, outcome) {
            (Sketch::Into(mailbox), Outcome::Stored { uid, .. }) => {
                Some(Own::Put(mailbox, vec![*uid]))
            }
            (Sketch::Into(mailbox), Outcome::Copied { pairs, .. }) => {
                Some(Own::Put(mailbox, pairs.iter().map(|(_, new)| *new).collect()))
            }
            (Sketch::Created, Outcome::Created(id)) => Some(Own::Named(*id)),
            (Sketch::Known(own), _) => Some(own),
            _ => None,
        }
    }
}

/// The messages that were put into a mailbox.
pub(super) fn put_into(all: &[Own], mailbox: MailboxId) -> UidSet {
    let uids = all.iter().filter_map(|own| match own {
        Own::Put(into, uids) if *into == mailbox => Some(uids),
        _ => None,
    });
    uids.flatten().copied().collect()
}
