//! One group of transactions: the lock that orders all groups of all nodes, what others have done
//! before, the decision, the rows, and what readers see of it. Two round trips, if the contents of
//! no mailbox are missing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error, Row};

use super::aside::{VERY_MANY, aside};
use super::blobs::{self, Chunks, IN_DATABASE, NOW, Placed};
use super::columns::{bytes, int};
use super::connection::{failure, is_about_values, is_passing};
use super::delta::is_in_memory_alone;
use super::log::{LOG, Point};
use super::persist::{self, Group};
use super::pipeline::Pipeline;
use super::shared::{Shared, in_log};
use super::writer::{Commit, Writer};
use super::{head, load};
use crate::mail::id::{BlobId, MailboxId, Timestamp};
use crate::store::StoreError;
use crate::store::apply::{self, Base, Known};
use crate::store::change::{Bytes, Receipt};
use crate::store::encode::Encoded;
use crate::store::state::{Changed, Contents, State};

const BY_HASH: &str = "SELECT hash, id, lost FROM message WHERE hash = ANY($1)";
const KEYS: &str = "SELECT digest, used FROM duplicate_key WHERE digest = ANY($1)";
const ADVANCE: &str = "UPDATE head SET version = $1, stamp = $2 WHERE one = 1";
const TELL: &str = "SELECT pg_notify('postfach_' || left(current_schema(), 50), $1)";

/// Why a group was not committed.
pub(super) enum Failure {
    /// Nothing was written: it may go through when it is tried again.
    Again(StoreError),
    /// Nothing was written, for a value that the database does not take.
    Values(StoreError),
    /// Nothing was written.
    Undone(StoreError),
    /// Whether it was written is not known: the log will tell.
    Lost(StoreError),
}

impl Failure {
    /// What those are told who wait.
    pub(super) fn told(&self) -> StoreError {
        let (Failure::Again(error)
        | Failure::Values(error)
        | Failure::Undone(error)
        | Failure::Lost(error)) = self;
        error.clone()
    }

    fn of(error: &Error) -> Failure {
        let told = failure(error);
        // the server says goodbye, or is not the one that takes writes any more
        let leaving = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            // nor does it know itself whether it was done
            SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
            SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        ];
        match error.code() {
            None if is_about_values(error) => Failure::Values(told),
            None => Failure::Lost(told),
            Some(code) if leaving.contains(code) => Failure::Lost(told),
            Some(_) if is_passing(error) => Failure::Again(told),
            Some(_) if is_about_values(error) => Failure::Values(told),
            Some(_) => Failure::Undone(told),
        }
    }

    /// As `of`, of what came before anything was written.
    fn before_writing(error: &Error) -> Failure {
        match Failure::of(error) {
            Failure::Lost(error) => Failure::Again(error),
            other => other,
        }
    }
}

/// What a group knows when it has the lock.
struct Locked {
    /// The last group before it.
    head: Point,
    /// When it is.
    now: Timestamp,
    known: Known,
    /// Objects that a message may refer to.
    staged: HashSet<i64>,
}

/// What the transactions of a group came to.
struct Applied {
    changed: Changed,
    results: Vec<Result<Receipt, StoreError>>,
}

impl Writer {
    /// Commits a group, if nothing is in its way.
    pub(super) async fn attempt(
        &mut self,
        commits: &[Commit],
    ) -> Result<Vec<Result<Receipt, StoreError>>, Failure> {
        let shared = self.shared.clone();
        let _turn = shared.turn.lock().await;
        let client = self.connected().await.map_err(Failure::Undone)?;
        let locked = match lock(&shared, client, commits).await {
            Err(Failure::Again(error)) => {
                if client.is_closed() {
                    self.client = None;
                }
                return Err(Failure::Again(error));
            }
            locked => locked?,
        };
        let loaded = load_needed(&shared, client, commits).await?;
        let Applied { mut changed, results } = apply(&shared, commits, &locked);
        if is_in_memory_alone(&changed, &shared.published().board.state) {
            changed.rows = Default::default();
            if !shared.publish_in_memory(locked.head, changed) {
                return Err(Failure::Again(outrun()));
            }
            client.batch_execute("COMMIT").await.map_err(|e| Failure::before_writing(&e))?;
        } else {
            let points = (locked.head, locked.head.next().map_err(Failure::Undone)?);
            let brought = brought(commits, &locked);
            write(&shared, client, (&brought, &changed), (points, locked.now)).await?;
            aside(rows_in(&changed), || {
                changed.rows = Default::default();
                shared.publish(points, changed);
            });
        }
        if loaded {
            shared.evict();
        }
        Ok(results)
    }
}

/// The first round trip: everybody else waits from now on.
async fn lock(
    shared: &Shared,
    client: &ClientWrapper,
    commits: &[Commit],
) -> Result<Locked, Failure> {
    let known = shared.published().at.version;
    let (mut hashes, mut keys, mut staged) = (Vec::new(), Vec::new(), Vec::new());
    let changes = commits.iter().flat_map(|commit| &commit.transaction.changes);
    for change in changes {
        hashes.extend(change.brings().map(|(message, _)| &message.hash[..]));
        keys.extend(change.asks_for().map(|key| key.to_vec()));
    }
    for (place, object) in commits.iter().flat_map(|commit| commit.staged.values()) {
        debug_assert!(*place >= IN_DATABASE);
        staged.push(*object);
    }
    let asked = Instant::now();
    let answers = async {
        let mut pipeline = Pipeline::new(client);
        head::lock_first(&mut pipeline).await?;
        pipeline.ask(LOG, vec![&known]).await?;
        pipeline.ask(BY_HASH, vec![&hashes]).await?;
        pipeline.ask(KEYS, vec![&keys]).await?;
        if !staged.is_empty() {
            pipeline.ask(blobs::STAGED, vec![&staged]).await?;
        }
        pipeline.run().await
    };
    let answers = answers.await.map_err(|e| Failure::before_writing(&e))?;
    let mut answers = answers.into_iter().skip(1);
    let mut next = || answers.next().unwrap_or_default();
    let locked = (next(), next());
    let locked = head::locked(shared, (&locked.0, &locked.1), asked);
    let (head, now) = locked.map_err(Failure::Undone)?;
    follow(shared, client, (head, &next())).await?;
    let mut known = Known::default();
    for row in next() {
        let (hash, id) = (bytes(&row, 0), int(&row, 1).map_err(Failure::Undone)?);
        let hash = hash.ok().and_then(|hash| <[u8; 32]>::try_from(hash).ok());
        let is_lost = int(&row, 2).map_err(Failure::Undone)? != 0;
        known.lost.extend(hash.filter(|_| is_lost));
        known.blobs.extend(hash.map(|hash| (hash, BlobId(id))));
    }
    for row in next() {
        let (key, used) = (bytes(&row, 0), int(&row, 1).map_err(Failure::Undone)?);
        let key = key.ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
        known.duplicate_keys.extend(key.map(|key| (key, Timestamp(used))));
    }
    let staged = next().iter().map(|row| int(row, 0)).collect::<Result<_, _>>();
    Ok(Locked { head, now, known, staged: staged.map_err(Failure::Undone)? })
}

/// Publishes what others have written before this group; where that is not the way, it is tried
/// again when the state has been loaded.
async fn follow(
    shared: &Shared,
    client: &ClientWrapper,
    (head, log): (Point, &[Row]),
) -> Result<(), Failure> {
    if shared.take_all(log, head).map_err(Failure::Undone)? {
        return Ok(());
    }
    client.batch_execute("ROLLBACK").await.map_err(|e| Failure::before_writing(&e))?;
    shared.catch_up_in_turn(client).await.map_err(Failure::Undone)?;
    Err(Failure::Again(outrun()))
}

/// No condition of a transaction has failed, nor has it lost a race that it knows of: `Outrun`
/// would say so.
pub(super) fn outrun() -> StoreError {
    StoreError::Unavailable("database: others write faster than this node follows".into())
}

/// Brings the contents that the group looks at into memory; whether any were missing. Nobody else
/// writes, so what the tables say is what is published.
async fn load_needed(
    shared: &Shared,
    client: &ClientWrapper,
    commits: &[Commit],
) -> Result<bool, Failure> {
    let changes = commits.iter().flat_map(|commit| &commit.transaction.changes);
    let mut needed: Vec<MailboxId> = changes.flat_map(apply::needs).collect();
    needed.sort_unstable();
    needed.dedup();
    let is_missing = |id: &MailboxId| {
        let published = shared.published();
        let held = published.board.state.held(*id);
        held.is_some_and(|held| matches!(held.contents, Contents::Absent { .. }))
    };
    needed.retain(is_missing);
    for id in &needed {
        // who needs the contents is told that they are not loaded
        let loaded = load::contents_here(client, *id).await.map_err(Failure::Again)?;
        loaded.and_then(|loaded| shared.put_contents(*id, loaded));
    }
    Ok(!needed.is_empty())
}

/// Applies each transaction on top of those before it; one that fails leaves no trace.
fn apply(shared: &Shared, commits: &[Commit], locked: &Locked) -> Applied {
    let rows = rows_touched(&shared.published().board.state, commits);
    aside(rows, || {
        let copy = (rows >= VERY_MANY).then(|| shared.published().board.state.clone());
        apply_on(shared, commits, (locked, copy.as_ref()))
    })
}

/// How many messages a group looks at, roughly.
fn rows_touched(state: &State, commits: &[Commit]) -> usize {
    let changes = commits.iter().flat_map(|commit| &commit.transaction.changes);
    changes.map(|change| apply::rows_touched(change, state)).sum()
}

/// How many rows of mailboxes a group writes.
fn rows_in(changed: &Changed) -> usize {
    let rows = &changed.rows;
    rows.instances.len() + rows.mirrored.len() + rows.blocks.len()
}

fn apply_on(
    shared: &Shared,
    commits: &[Commit],
    (locked, copy): (&Locked, Option<&State>),
) -> Applied {
    let mut changed = Changed::default();
    let mut results = Vec::with_capacity(commits.len());
    for commit in commits {
        if commit.staged.values().any(|(_, object)| !locked.staged.contains(object)) {
            results.push(Err(StoreError::Unavailable("staged bytes have been removed".into())));
            continue;
        }
        // between two transactions others come to what readers see
        let published = copy.is_none().then(|| shared.published());
        let shown = published.as_ref().map(|published| &published.board.state);
        let Some(state) = copy.or(shown) else { continue };
        let base = Base { state, known: &locked.known, now: locked.now };
        let applied = apply::apply(&base, &changed, commit.transaction.clone());
        drop(published);
        results.push(applied.map(|(receipt, own)| {
            changed.absorb(own);
            receipt
        }));
    }
    Applied { changed, results }
}

/// What the transactions of a group bring along: by hash, for equal messages are one.
#[derive(Default)]
pub(super) struct Brought<'a> {
    encoded: HashMap<[u8; 32], &'a Encoded>,
    staged: BTreeMap<[u8; 32], Placed>,
}

/// Of what was staged, only what is still there: it may have been brought twice, and one of the two
/// removed.
fn brought<'a>(commits: &'a [Commit], locked: &Locked) -> Brought<'a> {
    let mut brought = Brought::default();
    for commit in commits {
        let encoded = commit.encoded.iter().map(|(hash, encoded)| (*hash, encoded));
        brought.encoded.extend(encoded);
        let staged = commit.staged.iter().filter(|(_, placed)| locked.staged.contains(&placed.1));
        brought.staged.extend(staged.map(|(hash, placed)| (*hash, *placed)));
    }
    brought
}

/// The second round trip.
pub(super) async fn write(
    shared: &Shared,
    client: &ClientWrapper,
    (brought, changed): (&Brought<'_>, &Changed),
    ((prior, at), now): ((Point, Point), Timestamp),
) -> Result<(), Failure> {
    let (places, chunks, claimed) = places(changed, &brought.staged).map_err(Failure::Undone)?;
    let group = Group { changed, places: &places, encoded: &brought.encoded, now };
    let written = || Ok((persist::batches(&group)?, in_log(changed)?));
    let (mut batches, data) = aside(rows_in(changed), written).map_err(Failure::Undone)?;
    batches.push(chunks.batch());
    let log = format!(
        "INSERT INTO log (version, prior, stamp, node, at, data) VALUES ($1, $2, $3, $4, {NOW}, $5)"
    );
    let healed: Vec<i64> = changed.rows.healed.iter().map(|(id, _)| id.0).collect();
    let doom = blobs::doom_places();
    let Point { version, stamp } = at;
    // to itself it is no news
    let told = shared.node.to_string();
    let answers = async {
        let mut pipeline = Pipeline::new(client);
        if !claimed.is_empty() {
            pipeline.execute(blobs::CLAIM, vec![&claimed]).await?;
        }
        if !healed.is_empty() {
            pipeline.execute(&doom, vec![&healed]).await?;
        }
        for batch in &batches {
            pipeline.batch(batch).await?;
        }
        pipeline.execute(&log, vec![&version, &prior.stamp, &stamp, &shared.node, &data]).await?;
        pipeline.execute(ADVANCE, vec![&version, &stamp]).await?;
        if shared.options.listen {
            pipeline.ask(TELL, vec![&told]).await?;
        }
        pipeline.plain("COMMIT");
        pipeline.run().await
    };
    answers.await.map(|_| ()).map_err(|e| Failure::of(&e))
}

type Places<'a> = (HashMap<BlobId, Placed>, Chunks<'a>, Vec<i64>);

/// Where the bytes of each message that brings some are or come to be; and which staged objects
/// that takes.
fn places<'a>(
    changed: &'a Changed,
    staged: &BTreeMap<[u8; 32], Placed>,
) -> Result<Places<'a>, StoreError> {
    let (mut places, mut chunks, mut claimed) = (HashMap::new(), Chunks::default(), Vec::new());
    for (id, message) in changed.rows.brought() {
        let placed = match (staged.get(&message.hash), &message.bytes) {
            (Some(placed), _) => {
                claimed.push(placed.1);
                *placed
            }
            (None, Bytes::Memory(bytes)) => {
                let object = blobs::new_object()?;
                chunks.add(object, bytes);
                (IN_DATABASE, object)
            }
            (None, Bytes::File { .. }) => {
                return Err(StoreError::Unavailable("bytes that were not staged".into()));
            }
        };
        places.insert(*id, placed);
    }
    Ok((places, chunks, claimed))
}
