//! What the writer, the follower and all readers of a node share: the state as of one group of the
//! log, and the way in which it goes from one group to the next.

use std::cmp::Ordering;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio::sync::{Mutex, Notify};
use tokio_postgres::Row;

use super::Options;
use super::aside::{VERY_MANY, aside};
use super::columns::int;
use super::connection::{Target, failure};
use super::delta::Delta;
use super::link::Link;
use super::log::{FOLLOWING, Logged, Past, Point};
use super::readers::ask;
use super::restored;
use crate::mail::id::{MailboxId, Timestamp};
use crate::store::board::Board;
use crate::store::state::{Changed, Loaded, State};
use crate::store::text_index::TextIndex;
use crate::store::{StoreError, encode};
use crate::sys::{Clock, Heard};

/// The form of a delta, in its first byte: nodes of another version write another one.
const DELTA_FORM: u8 = 1;

/// A message takes no fewer bytes in a delta.
const MESSAGE_BYTES_MIN: usize = 20;

pub(super) struct Shared {
    pub(super) published: RwLock<Published>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    /// This node's index of texts.
    pub(super) texts: Option<Arc<TextIndex>>,
    pub(super) target: Target,
    /// For readers.
    pub(super) pool: Pool,
    /// For leases and failed logins: no reader and no upload may make them wait.
    pub(super) duties: Pool,
    /// For bytes that come before their group.
    pub(super) uploads: Pool,
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
    pub(super) at: Point,
    /// Those before it.
    pub(super) past: Past,
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

impl Published {
    /// The state as of a group.
    pub(super) fn new(state: State, at: Point) -> Published {
        Published { board: Board::new(state), at, past: Past::from(at) }
    }

    /// The state was loaded whole.
    pub(super) fn start_again(&mut self, state: State, at: Point) {
        self.board.replace(state);
        self.at = at;
        self.past = Past::from(at);
    }

    /// What is to be said of a group that need not be published, or cannot be: whether it is in
    /// what is published already. `None` for the next one.
    fn has(&self, logged: &Logged<'_>) -> Option<bool> {
        match self.at.version.cmp(&logged.at.version) {
            Ordering::Greater => Some(true),
            Ordering::Equal => Some(self.at == logged.at),
            Ordering::Less if self.at == logged.prior => None,
            Ordering::Less => Some(false),
        }
    }

    fn go_on(&mut self, at: Point, changed: Changed) {
        self.past.add(at, &changed);
        self.board.publish(changed);
        self.at = at;
    }
}

impl Shared {
    pub(super) fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn published_mut(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last message that is published here.
    pub(super) fn last_message(&self) -> i64 {
        self.published().board.state.counters().blob
    }

    /// A connection for a reader.
    pub(super) async fn client(&self) -> Result<Object, StoreError> {
        self.of(&self.pool).await
    }

    /// The one for leases and failed logins.
    pub(super) async fn duty_client(&self) -> Result<Object, StoreError> {
        self.of(&self.duties).await
    }

    /// A connection for bytes that are staged.
    pub(super) async fn upload_client(&self) -> Result<Object, StoreError> {
        self.of(&self.uploads).await
    }

    async fn of(&self, pool: &Pool) -> Result<Object, StoreError> {
        pool.get().await.map_err(|error| {
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
                    return self.catch_up_in_turn(client).await;
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
                Followed::Gap => restored::reload(self, client).await?,
            }
        }
    }

    /// Publishes some of what other nodes have written since.
    pub(super) async fn follow(&self, client: &ClientWrapper) -> Result<Followed, StoreError> {
        let (known, asked) = (self.published().at, Instant::now());
        let rows = ask(client, FOLLOWING, &[&known.version]).await?;
        let missing = || StoreError::Corrupt("the table head is empty".into());
        let first = rows.first().ok_or_else(missing)?;
        let (head, said) = (Point::of(first, 0)?, Timestamp(int(first, 2)?));
        self.clock.hear(Heard { said, asked, answered: Instant::now() });
        if head.version < known.version {
            // it is behind what it was: a database that was restored
            return Ok(Followed::Gap);
        }
        let mut read = false;
        for row in &rows {
            let Some(logged) = Logged::of(row, 3)? else { continue };
            if !self.take(&logged) {
                return Ok(Followed::Gap);
            }
            read = true;
        }
        let now = self.published().at;
        Ok(match now.version.cmp(&head.version) {
            Ordering::Less if read => Followed::More,
            Ordering::Equal if now == head => Followed::Whole,
            // another has published more meanwhile
            Ordering::Greater => Followed::Whole,
            Ordering::Less | Ordering::Equal => Followed::Gap,
        })
    }

    /// Publishes rows of the log, ascending, up to the last of all; whether they lead there.
    pub(super) fn take_all(&self, rows: &[Row], head: Point) -> Result<bool, StoreError> {
        for row in rows {
            if !Logged::of(row, 0)?.is_some_and(|logged| self.take(&logged)) {
                return Ok(false);
            }
        }
        Ok(self.published().at == head)
    }

    /// Publishes a group of the log, unless it is published already; whether it follows on what is.
    fn take(&self, logged: &Logged<'_>) -> bool {
        if let Some(done) = self.published().has(logged) {
            return done;
        }
        let Some((&DELTA_FORM, data)) = logged.data.split_first() else { return false };
        // a message is not much shorter
        let decode = || encode::from_bytes::<Delta>(data);
        let Ok(delta) = aside(data.len() / MESSAGE_BYTES_MIN, decode) else { return false };
        let rows = delta.rows_touched(&self.published().board.state);
        match rows >= VERY_MANY {
            true => self.take_many(logged, (delta, rows)),
            false => aside(rows, || self.take_few(logged, delta)),
        }
    }

    fn take_few(&self, logged: &Logged<'_>, delta: Delta) -> bool {
        let mut published = self.published_mut();
        if let Some(done) = published.has(logged) {
            return done;
        }
        let changed = delta.onto(&published.board.state);
        published.go_on(logged.at, changed);
        true
    }

    /// As `take_few`, made on a copy of what readers see. If contents have come into memory
    /// meanwhile, what was made without them does not fit.
    fn take_many(&self, logged: &Logged<'_>, (delta, rows): (Delta, usize)) -> bool {
        aside(rows, || {
            let (prior, copy) = {
                let published = self.published();
                (published.at, published.board.state.clone())
            };
            let changed = delta.clone().onto(&copy);
            {
                let mut published = self.published_mut();
                if published.at == prior && fits(&changed, &published.board.state) {
                    if let Some(done) = published.has(logged) {
                        return done;
                    }
                    published.go_on(logged.at, changed);
                    return true;
                }
            }
            self.take_few(logged, delta)
        })
    }

    /// Publishes a group of this node's own, unless the follower has been faster.
    pub(super) fn publish(&self, (prior, at): (Point, Point), changed: Changed) {
        let mut published = self.published_mut();
        if published.at == prior {
            published.go_on(at, changed);
        }
    }

    /// Publishes what was written nowhere, on top of the group that it was made on; whether that is
    /// still the last.
    pub(super) fn publish_in_memory(&self, at: Point, changed: Changed) -> bool {
        let mut published = self.published_mut();
        let is_last = published.at == at;
        if is_last {
            published.board.publish(changed);
        }
        is_last
    }

    /// The writer's to call, between groups: what a group needs must stay.
    pub(super) fn evict(&self) {
        self.published_mut().board.state.forget_unused(self.options.cached_messages_max);
    }

    /// Puts a mailbox's contents in place, if they are of its present state.
    pub(super) fn put_contents(&self, id: MailboxId, loaded: Loaded) -> Option<Loaded> {
        self.published_mut().board.state.load_contents(id, loaded).cloned()
    }
}

/// Whether no contents have come into memory without what was made.
fn fits(changed: &Changed, state: &State) -> bool {
    let is_loaded = |id| state.held(id).is_some_and(|held| held.loaded().is_ok());
    changed.mailboxes.iter().all(|(id, held)| match held {
        Some(held) => held.loaded().is_ok() || !is_loaded(*id),
        None => true,
    })
}

/// A delta as it stands in the log.
pub(super) fn in_log(changed: &Changed) -> Result<Vec<u8>, StoreError> {
    let mut data = vec![DELTA_FORM];
    data.append(&mut encode::to_bytes(&Delta::of(changed))?);
    Ok(data)
}
