//! What came for a conversation while it was moved. A move is planned by a look that is old when it
//! is committed; mail that was placed in the meantime stays behind. So after the commit who moved
//! looks once more. Mail that is placed later finds the conversation where it went: delivery's
//! transaction demands that what it was placed by is still there. Whichever commits first, the
//! other sees it.

use std::collections::BTreeMap;

use super::moving::{self, NAMED_MAX, Target};
use super::thread::Thread;
use super::{Scope, State, is_one_place};
use crate::directory::{Directory, Moves};
use crate::mail::id::{BlobId, Login, MailboxId};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, Outcome, Receipt, Transfer};
use crate::store::{Store, StoreError};

/// How often what is left behind is looked for. Each time somebody else was in between.
pub const LOOKS_MAX: usize = 4;

/// The moves of a transaction that bring conversations into another state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moved(Vec<(usize, MailboxId)>);

/// Instances that have come into mailboxes by such moves.
pub type Arrived = BTreeMap<MailboxId, UidSet>;

impl Moved {
    /// Those among `changes`. Who moves more at once than is taken along is tidying up.
    pub fn among(store: &dyn Store, changes: &[Change]) -> Moved {
        let is_state = |transfer: &Transfer| {
            let (from, to) = (store.mailbox(transfer.from)?, store.mailbox(transfer.to)?);
            let is_within = from.account == to.account && is_one_place(&from.account, &from.folder);
            (is_within && from.id != to.id).then(|| State::of(&to.account, &to.folder)).flatten()
        };
        let moved = changes.iter().enumerate().filter_map(|(at, change)| match change {
            Change::Moved(transfer) if transfer.uids.len() <= NAMED_MAX as u64 => {
                is_state(transfer).map(|_| (at, transfer.to))
            }
            _ => None,
        });
        Moved(moved.collect())
    }

    /// What they came to.
    pub fn arrived(&self, receipt: &Receipt) -> Arrived {
        let mut arrived = Arrived::new();
        for (at, to) in &self.0 {
            if let Some(Outcome::Copied { pairs, .. }) = receipt.outcomes.get(*at)
                && !pairs.is_empty()
            {
                let uids = arrived.entry(*to).or_default();
                pairs.iter().for_each(|(_, new)| uids.insert(*new));
            }
        }
        arrived
    }
}

/// The changes that bring along what of these conversations lies in another state; none where
/// nothing does, or where somebody has moved them on. They hold as long as they lie where they have
/// arrived: else they fail with `Outrun`.
pub async fn changes(
    (store, directory): (&dyn Store, &Directory),
    (mailbox, arrived): (MailboxId, &UidSet),
    user: &Login,
) -> Result<Vec<Change>, StoreError> {
    let Some(to) = store.mailbox(mailbox) else { return Ok(Vec::new()) };
    let scope = Scope { store, directory, account: &to.account };
    let moves = directory.policy(&to.account).map(|policy| policy.conversation);
    let Some(state) = State::of(&to.account, &to.folder).filter(|_| moves == Some(Moves::Together))
    else {
        return Ok(Vec::new());
    };
    let snapshot = store.snapshot(mailbox).await?;
    let here: Vec<_> = snapshot.entries_in(arrived).map(|entry| (entry.blob, entry.uid)).collect();
    let blobs: Vec<BlobId> = here.iter().map(|(blob, _)| *blob).collect();
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let thread = Thread::of(&scope, &blobs).await?;
    let behind: Vec<_> = moving::groups(&scope, &thread, mailbox).into_iter().collect();
    if behind.is_empty() {
        return Ok(Vec::new());
    }
    let uids = here.iter().map(|(_, uid)| *uid).collect();
    let mut changes = vec![Change::Present { mailbox, uids }];
    let target = Target { state, mailbox, user: user.clone() };
    changes.extend(moving::changes(&scope, &behind, &target).await?);
    Ok(changes)
}
