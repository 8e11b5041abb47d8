//! What the writer, the follower and all readers of a node share: the state as of one group of the
//! log, and the way in which it goes from one group to the next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio::sync::{Mutex, Notify};
use tokio_postgres::Row;

use super::Options;
use super::columns::{bytes, get, int};
use super::connection::{Target, failure};
use super::delta::Delta;
use super::link::Link;
use super::load;
use super::readers::ask;
use crate::mail::id::MailboxId;
use crate::store::board::Board;
use crate::store::state::{Changed, Contents, Loaded};
use crate::store::{StoreError, encode};
use crate::sys::Clock;

/// The form of a delta, in its first byte: nodes of another version write another one.
const DELTA_FORM: u8 = 1;
/// Most groups that are read from the log at a time.
pub(super) const LOG_ROWS_MAX: i64 = 64;
/// What a mailbox in memory counts for beside its messages.
const MAILBOX_COST: usize = 16;

/// The groups that follow one, beside the last one of all: which there is none of.
const FOLLOWING: &str = "SELECT head.version, log.version, log.data
  FROM head LEFT JOIN log ON log.version > $1 WHERE head.one = 1 ORDER BY log.version LIMIT $2";

pub(super) struct Shared {
    pub(super) published: RwLock<Published>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) target: Target,
    pub(super) pool: Pool,
    pub(super) link: Link,
    /// Which node this is, of those on the database: a random number, new at each start.
    pub(super) node: i64,
    /// Counts what is asked for, so that the mailbox unused for longest is known.
    pub(super) uses: AtomicU64,
    /// Held by whoever writes a group, or loads the state whole.
    pub(super) turn: Mutex<()>,
    /// The writer is to end after what was handed in.
    pub(super) stop: Notify,
}

/// What readers see.
pub(super) struct Published {
    pub(super) board: Board,
    /// The last group that is in it.
    pub(super) version: i64,
}

/// Whether the log leads from what is published to what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Followed {
    /// It does, and all that was read is published.
    Whole,
    /// More is there to be read.
    More,
    /// Groups are missing: the state must be loaded whole.
    Gap,
}

impl Shared {
    pub(super) fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published_mut(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of the pool.
    pub(super) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| {
            // whether this is all of the database's is the follower's to find out
            self.link.look.notify_one();
            match error {
                deadpool_postgres::PoolError::Backend(error) => failure(&error),
                other => StoreError::Unavailable(format!("database: {other}")),
            }
        })
    }

    /// Publishes what other nodes have written since; loads all of it where the log does not lead
    /// there.
    pub(super) async fn catch_up(&self, client: &ClientWrapper) -> Result<(), StoreError> {
        loop {
            match self.follow(client).await? {
                Followed::Whole => return Ok(()),
                Followed::More => {}
                Followed::Gap => {
                    let _turn = self.turn.lock().await;
                    // another may have done it meanwhile
                    if self.follow(client).await? == Followed::Gap {
                        self.reload(client).await?;
                    }
                }
            }
        }
    }

    /// As `catch_up`, of somebody who has the turn.
    pub(super) async fn catch_up_in_turn(&self, client: &ClientWrapper) -> Result<(), StoreError> {
        loop {
            match self.follow(client).await? {
                Followed::Whole => return Ok(()),
                Followed::More => {}
                Followed::Gap => return self.reload(client).await,
            }
        }
    }

    /// Publishes some of what other nodes have written since.
    pub(super) async fn follow(&self, client: &ClientWrapper) -> Result<Followed, StoreError> {
        let known = self.published().version;
        let rows = ask(client, FOLLOWING, &[&known, &LOG_ROWS_MAX]).await?;
        let missing = || StoreError::Corrupt("the table head is empty".into());
        let head = int(rows.first().ok_or_else(missing)?, 0)?;
        let mut read = 0;
        for row in &rows {
            let Some(version) = get::<Option<i64>>(row, 1)? else { continue };
            if !self.take(version, bytes(row, 2)?) {
                return Ok(Followed::Gap);
            }
            read += 1;
        }
        Ok(match (read, head.cmp(&known)) {
            // a database that was restored is behind what it was
            (_, std::cmp::Ordering::Less) | (0, std::cmp::Ordering::Greater) => Followed::Gap,
            (LOG_ROWS_MAX, _) => Followed::More,
            _ => Followed::Whole,
        })
    }

    /// Publishes rows of the log, ascending: version, data.
    pub(super) fn take_all(&self, rows: &[Row]) -> Result<Followed, StoreError> {
        for row in rows {
            if !self.take(int(row, 0)?, bytes(row, 1)?) {
                return Ok(Followed::Gap);
            }
        }
        Ok(if rows.len() as i64 == LOG_ROWS_MAX { Followed::More } else { Followed::Whole })
    }

    /// Publishes a group of the log, unless it is published already; whether it follows on what is.
    fn take(&self, version: i64, data: &[u8]) -> bool {
        if version <= self.published().version {
            return true;
        }
        let Some((&DELTA_FORM, data)) = data.split_first() else { return false };
        let Ok(delta) = encode::from_bytes::<Delta>(data) else { return false };
        let mut published = self.published_mut();
        if published.version + 1 < version {
            return false;
        }
        if published.version + 1 == version {
            let changed = delta.onto(&published.board.state);
            published.board.publish(changed);
            published.version = version;
        }
        true
    }

    /// Publishes a group of this node's own, unless the follower has been faster.
    pub(super) fn publish(&self, version: i64, changed: Changed) {
        let mut published = self.published_mut();
        if published.version + 1 == version {
            published.board.publish(changed);
            published.version = version;
        }
    }

    /// Publishes what was written nowhere, on top of the group that it was made on; whether that is
    /// still the last.
    pub(super) fn publish_in_memory(&self, version: i64, changed: Changed) -> bool {
        let mut published = self.published_mut();
        let is_last = published.version == version;
        if is_last {
            published.board.publish(changed);
        }
        is_last
    }

    /// Loads the state whole. Whoever calls it has the turn.
    pub(super) async fn reload(&self, client: &ClientWrapper) -> Result<(), StoreError> {
        let (state, version) = load::state(client).await?;
        let mut published = self.published_mut();
        published.board.replace(state);
        published.version = version;
        Ok(())
    }

    /// Forgets the contents of mailboxes unused for longest, as long as there are too many and
    /// nobody else holds them. The writer's to call, between groups: what a group needs must stay.
    pub(super) fn evict(&self) {
        let mut published = self.published_mut();
        let state = &mut published.board.state;
        let mut total = 0;
        let mut unused = Vec::new();
        for held in state.all() {
            let Contents::Loaded(loaded) = &held.contents else { continue };
            let cost = loaded.snapshot.len() + MAILBOX_COST;
            total += cost;
            if Arc::strong_count(&loaded.snapshot) == 1 {
                unused.push((held.last_used.load(Ordering::Relaxed), held.mailbox.id, cost));
            }
        }
        unused.sort_unstable();
        for (_, id, cost) in unused {
            if total <= self.options.cached_messages_max {
                return;
            }
            state.unload(id);
            total -= cost;
        }
    }

    /// Puts a mailbox's contents in place, if they are of its present state.
    pub(super) fn put_contents(&self, id: MailboxId, loaded: Loaded) -> Option<Loaded> {
        self.published_mut().board.state.load_contents(id, loaded).cloned()
    }
}

/// A delta as it stands in the log.
pub(super) fn in_log(changed: &Changed) -> Result<Vec<u8>, StoreError> {
    let mut data = vec![DELTA_FORM];
    data.append(&mut encode::to_bytes(&Delta::of(changed))?);
    Ok(data)
}
