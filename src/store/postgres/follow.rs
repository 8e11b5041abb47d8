//! The task that follows the log: it publishes what other nodes have written as soon as it is told,
//! and is the one that says whether the database can be reached.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::{sleep, timeout};

use super::columns::text;
use super::connection::{Listener, failure};
use super::migrate;
use super::readers::ask;
use super::shared::{Followed, Shared};
use crate::store::StoreError;

/// How often a node asks when it is told what is new: whether anybody is there, above all.
const TOLD_INTERVAL: Duration = Duration::from_secs(1);
/// How often it asks when nobody tells.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a new connection may take, once the database is found to be unreachable.
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long loading the state whole may take.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before the next attempt: at first, and at most.
const RECONNECT_INTERVALS: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(1));

/// The channel on which the nodes of one store tell each other; others may be in the database.
const CHANNEL: &str = "SELECT 'postfach_' || left(current_schema(), 50)";

/// The following half of a node.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    /// The connection that opened the store: no migration may begin before this has its own.
    pub(super) opened: Option<ClientWrapper>,
}

impl Follower {
    /// Follows as long as it is polled.
    pub(super) async fn run(mut self) -> StoreError {
        let mut wait = RECONNECT_INTERVALS.0;
        loop {
            let failed = match timeout(RECONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok(client)) => {
                    self.opened = None;
                    let (failed, was_up) = self.follow(&client).await;
                    if was_up {
                        wait = RECONNECT_INTERVALS.0;
                        // a connection that has ended says nothing about the next one yet
                        if client.is_closed() {
                            continue;
                        }
                    }
                    failed
                }
                Ok(Err(error)) => error,
                Err(_) => StoreError::Unavailable("database: no answer".into()),
            };
            self.shared.link.down(&failed);
            sleep(wait).await;
            wait = RECONNECT_INTERVALS.1.min(wait * 2);
        }
    }

    async fn connect(&self) -> Result<ClientWrapper, StoreError> {
        let (look, own) = (self.shared.link.look.clone(), self.shared.node.to_string());
        let client = self.shared.target.open(Some(Listener { look, own })).await?;
        migrate::hold(&client).await?;
        if self.shared.options.listen {
            let channel = ask(&client, CHANNEL, &[]).await?;
            let missing = || StoreError::Unavailable("database: no schema".into());
            let channel = text(channel.first().ok_or_else(missing)?, 0)?.replace('"', "\"\"");
            let listen = format!("LISTEN \"{channel}\"");
            client.batch_execute(&listen).await.map_err(|e| failure(&e))?;
        }
        Ok(client)
    }

    /// Until there is no answer; why, and whether there was one before.
    async fn follow(&self, client: &ClientWrapper) -> (StoreError, bool) {
        let (link, patience) = (&self.shared.link, self.shared.options.patience);
        let interval = if self.shared.options.listen { TOLD_INTERVAL } else { POLL_INTERVAL };
        let mut was_up = false;
        loop {
            let followed = match timeout(patience, self.shared.follow(client)).await {
                // all of the state is more than an answer
                Ok(Ok(Followed::Gap)) => {
                    let loading = timeout(RELOAD_TIMEOUT, self.shared.catch_up(client));
                    loading.await.map(|loaded| loaded.map(|()| Followed::Whole))
                }
                followed => followed,
            };
            match followed {
                Ok(Ok(Followed::More)) => continue,
                Ok(Ok(_)) => {
                    was_up = true;
                    link.up();
                }
                Ok(Err(error)) => return (error, was_up),
                Err(_) => {
                    let silent = StoreError::Unavailable("database: it does not answer".into());
                    return (silent, was_up);
                }
            }
            tokio::select! {
                () = link.look.notified() => {}
                () = sleep(interval) => {}
            }
        }
    }
}
