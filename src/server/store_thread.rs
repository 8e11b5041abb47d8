//! What the store does all the time: the embedded engine's writer waits for the disk, and so has a
//! thread of its own; what waits for a database is a task of the runtime. Knows no protocol.

use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::store::StoreError;
use crate::store::embedded::{Embedded, Writer};
use crate::store::postgres::{Postgres, Tasks};

/// How long the store may take at the end to finish what it has begun.
const FINISH_TIMEOUT: Duration = Duration::from_secs(15);

/// A running engine.
pub(super) struct StoreThread {
    /// Lets it finish what was handed in.
    stop: Box<dyn FnOnce() + Send>,
    ended: oneshot::Receiver<Result<(), StoreError>>,
}

impl StoreThread {
    /// Starts the writer of files.
    pub(super) fn start(store: Embedded, writer: Writer) -> io::Result<StoreThread> {
        let (ends, ended) = oneshot::channel();
        let work = move || {
            // The other side is gone only when the daemon has given up waiting.
            let _ = ends.send(writer.run());
        };
        thread::Builder::new().name("store-writer".into()).spawn(work)?;
        Ok(StoreThread { stop: Box::new(move || store.stop()), ended })
    }

    /// Starts what writes to a database, and follows it.
    pub(super) fn start_tasks(store: Postgres, tasks: Tasks) -> StoreThread {
        let (ends, ended) = oneshot::channel();
        tokio::spawn(async move {
            // as above
            let _ = ends.send(tasks.run().await);
        });
        StoreThread { stop: Box::new(move || store.stop()), ended }
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
        (self.stop)();
        match timeout(FINISH_TIMEOUT, self.ended).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the store ended with a failure"),
            Ok(Err(_)) => tracing::error!("the store's writer panicked"),
            Err(_) => tracing::warn!("the store did not finish in time; it recovers at start"),
        }
    }
}
