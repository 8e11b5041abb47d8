//! The ends of what `postfach break-glass` has opened: when the next one comes, and its record.
//! Decides no access: that ends with the time, whether it is recorded or not.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::duty::Under;
use crate::mail::id::Timestamp;
use crate::store::change::{Actor, Change, Opening, Transaction};
use crate::store::{Store, StoreError};

/// How long to wait where the store does not take the record.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// How long to wait where another node takes the record.
pub(super) const ELSEWHERE: Duration = Duration::from_secs(5);

/// Waits until a mailbox is open for longer than it should be; for ever, where none is open.
pub(super) async fn ended(store: &dyn Store, not_before: Instant) {
    let Some(next) = store.openings().iter().map(|opening| opening.until).min() else {
        return std::future::pending().await;
    };
    let micros = u64::try_from(next.0.saturating_sub(store.now().0)).unwrap_or(0);
    sleep_until(not_before.max(Instant::now() + Duration::from_micros(micros))).await;
}

/// Records the end of all that has ended; `Outrun` where another node does.
pub(super) async fn close(store: &dyn Store, under: &Under) -> Result<(), StoreError> {
    if !under.may_begin() {
        return Err(StoreError::Outrun);
    }
    let now = store.now();
    let ended = |opening: &&Opening| !is_open(opening, now);
    let mended = |opening: &Opening| Change::GlassMended {
        user: opening.user.clone(),
        of: opening.of.clone(),
    };
    let changes: Vec<Change> = store.openings().iter().filter(ended).map(mended).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let changes = under.fence().into_iter().chain(changes).collect();
    store.commit(Transaction { actor: Actor::System, changes }).await.map(drop)
}

/// Whether its time has not come yet.
pub(super) fn is_open(opening: &Opening, now: Timestamp) -> bool {
    now < opening.until
}
