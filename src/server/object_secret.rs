//! The secret behind the identifiers of mailboxes and messages: made once, kept in the store.

use crate::imap::object_id::{ObjectIds, SECRET_BYTES};
use crate::store::change::{Actor, Transaction};
use crate::store::{Store, StoreError};

/// Sees to it that the store keeps one. Where two nodes start on an empty store at once, the later
/// one's stays, and both go by it.
pub(super) async fn ensure(store: &dyn Store) -> Result<(), StoreError> {
    if ObjectIds::of_store(store).is_some() {
        return Ok(());
    }
    let mut secret = [0; SECRET_BYTES];
    let made = aws_lc_rs::rand::fill(&mut secret);
    made.map_err(|_| StoreError::Unavailable("no random numbers".to_owned()))?;
    let changes = vec![ObjectIds::by(secret).kept()];
    store.commit(Transaction { actor: Actor::System, changes }).await.map(drop)
}

/// By the secret that the store keeps. One that could not keep any makes identifiers that are good
/// for nothing but telling things apart.
pub(super) fn of(store: &dyn Store) -> ObjectIds {
    ObjectIds::of_store(store).unwrap_or(ObjectIds::by([0; SECRET_BYTES]))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract::stand::{Engine, Stand};
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    #[tokio::test]
    async fn a_secret_is_made_once_and_kept() {
        let store = Memory::new(Arc::new(ManualClock::default()));
        assert!(ObjectIds::of_store(&store).is_none());
        ensure(&store).await.expect("kept");
        let first = ObjectIds::of_store(&store);
        ensure(&store).await.expect("kept");
        assert!(first.is_some() && first == ObjectIds::of_store(&store));
        assert!(of(&store) != ObjectIds::by([0; SECRET_BYTES]));
    }

    #[tokio::test]
    async fn every_engine_has_it_when_it_is_opened_again() {
        for engine in [Engine::Embedded, Engine::Nodes(1)] {
            let mut stand = Stand::new(engine, Arc::new(ManualClock::default())).await;
            ensure(&*stand.stores()[0]).await.expect("kept");
            let first = ObjectIds::of_store(&*stand.stores()[0]);
            stand.restart(0).await;
            assert!(first.is_some() && first == ObjectIds::of_store(&*stand.stores()[0]));
            assert!(stand.stores()[0].metadata(None).is_empty(), "nobody else can ask for it");
        }
    }
}
