//! The store's writer on a thread of its own: it waits for the disk, so it may not sit on a thread
//! of the runtime. Knows no protocol.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::store::StoreError;
use crate::store::embedded::{Embedded, Writer};

/// How long the store may take at the end to finish what it has begun.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15);

/// A running writer.
pub(super) struct StoreThread {
    store: Embedded,
    ended: oneshot::Receiver<Result<(), StoreError>>,
}

impl StoreThread {
    /// Starts it.
    pub(super) fn start(store: Embedded, writer: Writer) -> io::Result<StoreThread> {
        let (ends, ended) = oneshot::channel();
        let work = move || {
            // The other side is gone only when the daemon has given up waiting.
            let _ = ends.send(writer.run());
        };
        thread::Builder::new().name("store-writer".into()).spawn(work)?;
        Ok(StoreThread { store, ended })
    }

    /// Comes back if the writer ends while the store is in use: nothing can be stored any more.
    pub(super) async fn failed(&mut self) -> StoreError {
        match (&mut self.ended).await {
            Ok(Err(error)) => error,
            // Without an answer it panicked.
            Ok(Ok(())) | Err(_) => StoreError::Unavailable("its writer has stopped".into()),
        }
    }

    /// Lets the writer finish what was handed in, and waits for it.
    pub(super) async fn finish(self) {
        self.store.stop();
        match timeout(FINISH_TIMEOUT, self.ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the store ended with a failure"),
            Ok(Err(_)) => tracing::error!("the store's writer panicked"),
            Err(_) => tracing::warn!("the store did not finish in time; it recovers at start"),
        }
    }
}
