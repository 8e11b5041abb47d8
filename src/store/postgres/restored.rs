//! Loading the state whole, where the log does not lead from what is published to what there is: a
//! node was away for longer than the log reaches, or the database was restored from a backup. Then
//! UIDs that clients have seen are given once more, to other messages: such mailboxes get a new
//! UIDVALIDITY before anybody sees them.

use std::collections::BTreeSet;

use deadpool_postgres::ClientWrapper;

use super::connection::failure;
use super::group::{self, Brought};
use super::head;
use super::load;
use super::log::{PAST, Point};
use super::readers::ask;
use super::shared::Shared;
use crate::mail::id::MailboxId;
use crate::store::StoreError;
use crate::store::apply;
use crate::store::state::State;

/// How often it is tried while others write.
const ATTEMPTS_MAX: usize = 20;

/// Loads the state whole. Whoever calls it has the turn, and is in no transaction.
pub(super) async fn reload(shared: &Shared, client: &ClientWrapper) -> Result<(), StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let known = shared.published().at;
        let (state, at) = load::state(client).await?;
        let past = ask(client, PAST, &[&known.version]).await?;
        let past = past.iter().map(|row| Point::of(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let fallen = fallen(shared, &state, (&past, at));
        if fallen.is_empty() {
            replace(shared, (known, at), state);
            return Ok(());
        }
        // it stays down until clients can be told
        if renew(shared, client, (&state, at), &fallen).await? {
            tracing::error!(
                mailboxes = fallen.len(),
                "the database is behind what this node has seen: was it restored? \
                 Mailboxes that had been further have a new UIDVALIDITY"
            );
        }
    }
    Err(group::outrun())
}

/// Puts a state in place, unless somebody has published more meanwhile: the log led on then.
fn replace(shared: &Shared, (known, at): (Point, Point), state: State) {
    let mut published = shared.published_mut();
    if published.at == known {
        if let Some(texts) = &shared.texts {
            texts.doubt(state.counters().blob);
        }
        published.start_again(state, at);
    }
}

/// The mailboxes whose UIDs or changes clients may know that are not there, or are others.
fn fallen(shared: &Shared, state: &State, (past, head): (&[Point], Point)) -> BTreeSet<MailboxId> {
    let published = shared.published();
    let before = &published.board.state;
    let fell = state.all().filter(|held| {
        before.held(held.mailbox.id).is_some_and(|before| {
            held.uid_next < before.uid_next || held.highest_modseq < before.highest_modseq
        })
    });
    let mut fallen: BTreeSet<MailboxId> = fell.map(|held| held.mailbox.id).collect();
    fallen.extend(published.past.lost(past, head));
    // another node may have been here before
    let epoch = |state: &State, id| state.held(id).map(|held| held.mailbox.uid_validity);
    fallen.retain(|id| epoch(state, *id).is_some_and(|now| epoch(before, *id) == Some(now)));
    fallen
}

/// Commits new epochs, if the state is still the last.
async fn renew(
    shared: &Shared,
    client: &ClientWrapper,
    (state, at): (&State, Point),
    fallen: &BTreeSet<MailboxId>,
) -> Result<bool, StoreError> {
    let done = async {
        let (head, now) = head::lock(shared, client).await?;
        if head != at {
            return Ok(false);
        }
        let changed = apply::renewed(state, fallen, now);
        let brought = Brought::default();
        let points = (at, at.next()?);
        let written = group::write(shared, client, (&brought, &changed), (points, now)).await;
        written.map(|()| true).map_err(|failed| failed.told())
    };
    let done = done.await;
    if done != Ok(true) {
        client.batch_execute("ROLLBACK").await.map_err(|e| failure(&e))?;
    }
    done
}
