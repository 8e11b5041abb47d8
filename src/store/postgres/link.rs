//! Whether the database can be reached. While it cannot, everybody is told at once, instead of each
//! waiting for an answer that does not come.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::store::StoreError;

/// Shared by all that use the database; the follower says what it is like.
pub(super) struct Link {
    /// Why it is down, while it is.
    down: watch::Sender<Option<Arc<str>>>,
    /// Wakes the follower: somebody wants to know whether the database is there, or what is new.
    pub(super) look: Arc<Notify>,
}

impl Link {
    pub(super) fn new() -> Link {
        Link { down: watch::Sender::new(None), look: Arc::default() }
    }

    pub(super) fn is_up(&self) -> bool {
        self.down.borrow().is_none()
    }

    pub(super) fn reachable(&self) -> Result<(), StoreError> {
        match &*self.down.borrow() {
            Some(why) => Err(StoreError::Unavailable(why.to_string())),
            None => Ok(()),
        }
    }

    pub(super) fn up(&self) {
        self.down.send_if_modified(|down| down.take().is_some());
    }

    pub(super) fn down(&self, why: &StoreError) {
        self.down.send_replace(Some(why.to_string().into()));
    }

    /// Does `work`, unless and until the database is found to be unreachable.
    pub(super) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut down = self.down.subscribe();
        let cut_off = async {
            match down.wait_for(Option::is_some).await {
                Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
                // who says so has ended
                Err(_) => "the store has stopped".to_owned(),
            }
        };
        tokio::select! {
            biased;
            why = cut_off => Err(StoreError::Unavailable(why)),
            done = work => done,
        }
    }
}
