//! What a node does when nobody waits for it: removes messages that no mailbox holds any more, and
//! bytes that no message refers to. Each step is small and a transaction of its own, and what it
//! leaves to do stands in `object`; so a crash between two costs nothing, and several nodes may do
//! it at once.
//!
//! Nothing is removed that a message refers to. Bytes are removed only of objects that are doomed;
//! a group makes a message refer to an object only if it is not, and holds its row until it
//! commits; and a message goes under the lock of all groups, so that none takes it up meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{ClientWrapper, Object};
use tokio::time::sleep;
use tokio_postgres::types::ToSql;

use super::blobs::{IN_BUCKET, IN_DATABASE, NOW, STAGING_MAX};
use super::columns::{bytes, int};
use super::connection::failure;
use super::head;
use super::log::LOG;
use super::readers::ask;
use super::shared::Shared;
use crate::mail::id::Timestamp;
use crate::mail::message::Envelope;
use crate::store::apply::DUPLICATE_KEY_SECS;
use crate::store::objects::{ObjectId, Objects};
use crate::store::{StoreError, encode, sql};

/// For how long a message can be read after its last instance is gone: sessions may still show it.
const GRACE_SECS: i64 = 600;
/// How old an object is that no message took: nobody can still be uploading it.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Most messages that go at a time: all groups wait for it.
const STEP_ROWS_MAX: i64 = 200;
/// How often somebody looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Between two steps, so that groups come between.
const BREATH: Duration = Duration::from_millis(50);

const FREED: &str = "SELECT message.id, pack, start, envelope.data
  FROM message LEFT JOIN envelope ON envelope.id = message.id
  WHERE freed <= $1 ORDER BY freed LIMIT $2";
const DELETE_IDS: &str =
    "DELETE FROM message_id USING UNNEST($1::BIGINT[], $2::BIGINT[]) AS u(p1, p2)
  WHERE digest = u.p1 AND message = u.p2";
const DOOMED: &str = "SELECT id, place FROM object WHERE doomed = 1 AND place = ANY($1)
  ORDER BY id LIMIT $2";
const DELETE_CHUNKS: &str = "DELETE FROM blob WHERE object = ANY($1)";
const FORGET: &str = "DELETE FROM object WHERE id = ANY($1) AND doomed = 1";

/// The sweeping part of a node.
pub(super) struct Sweeper {
    pub(super) shared: Arc<Shared>,
}

impl Sweeper {
    /// Sweeps as long as it is polled.
    pub(super) async fn run(self) -> StoreError {
        loop {
            let swept = self.shared.link.guard(sweep(&self.shared)).await;
            // what failed is tried again
            sleep(if swept.unwrap_or(false) { BREATH } else { INTERVAL }).await;
        }
    }
}

/// All steps once; whether there is more to do.
pub(super) async fn sweep(shared: &Shared) -> Result<bool, StoreError> {
    doom_abandoned(shared).await?;
    let more = remove_freed(shared).await?;
    let more = forget_old(shared).await? || more;
    Ok(remove_doomed(shared).await? || more)
}

/// Objects that were uploaded for a group that never came, or for a message that was there already.
pub(super) async fn doom_abandoned(shared: &Shared) -> Result<(), StoreError> {
    let doom = format!("UPDATE object SET doomed = 1 WHERE doomed = 0 AND at < {NOW} - $1");
    let age = i64::try_from(ABANDONED.as_micros()).unwrap_or(i64::MAX);
    execute(&*shared.client().await?, &doom, &[&age]).await.map(|_| ())
}

/// Messages without instances, and what belongs to them; their objects are doomed with that.
pub(super) async fn remove_freed(shared: &Shared) -> Result<bool, StoreError> {
    let before = seconds_ago(shared, GRACE_SECS);
    let mut client = shared.client().await?;
    // most of the time there is nothing, and nobody has to wait for that
    if ask(&client, FREED, &[&before, &1_i64]).await?.is_empty() {
        return Ok(false);
    }
    let transaction = client.transaction().await.map_err(|e| failure(&e))?;
    let run = async |statement: &str, parameters: &[&(dyn ToSql + Sync)]| {
        let statement = transaction.prepare_cached(statement).await.map_err(|e| failure(&e))?;
        transaction.query(&statement, parameters).await.map_err(|e| failure(&e))
    };
    let (known, asked) = (shared.published().at.version, Instant::now());
    let (lock, terms) = (run(head::LOCK, &[]).await?, run(head::TERMS, &[]).await?);
    let (head, _) = head::locked(shared, (&lock, &terms), asked)?;
    if !shared.take_all(&run(LOG, &[&known]).await?, head)? {
        // a database that this node does not know yet: one that was restored, say
        shared.link.look.notify_one();
        return Ok(false);
    }
    let freed = Freed::of(&run(FREED, &[&before, &STEP_ROWS_MAX]).await?)?;
    run(DELETE_IDS, &[&freed.digests.0, &freed.digests.1]).await?;
    for statement in sql::DELETE_MESSAGE {
        let statement = statement.replace("= $1", "= ANY($1)");
        run(&statement, &[&freed.ids]).await?;
    }
    let doom = format!(
        "INSERT INTO object (id, place, at, doomed)
           SELECT u.p1, u.p2, {NOW}, 1 FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS u(p1, p2)"
    );
    run(&doom, &[&freed.objects, &freed.places]).await?;
    transaction.commit().await.map_err(|e| failure(&e))?;
    Ok(freed.ids.len() as i64 >= STEP_ROWS_MAX)
}

/// Freed messages, column by column.
#[derive(Default)]
struct Freed {
    ids: Vec<i64>,
    places: Vec<i64>,
    objects: Vec<i64>,
    /// What they are found by, and which message that is.
    digests: (Vec<i64>, Vec<i64>),
}

impl Freed {
    fn of(rows: &[tokio_postgres::Row]) -> Result<Freed, StoreError> {
        let mut freed = Freed::default();
        for row in rows {
            let id = int(row, 0)?;
            freed.ids.push(id);
            freed.places.push(int(row, 1)?);
            freed.objects.push(int(row, 2)?);
            // What cannot be read was never written by us, and has no row.
            let envelope = bytes(row, 3).ok();
            let envelope = envelope.and_then(|data| encode::from_bytes::<Envelope>(data).ok());
            let digests: BTreeSet<i64> = envelope.iter().flat_map(encode::digests).collect();
            freed.digests.1.extend(digests.iter().map(|_| id));
            freed.digests.0.extend(digests);
        }
        Ok(freed)
    }
}

/// Traces without instances, and duplicate keys that are too old to count. A trace is taken up by
/// the group that makes it only, a key is put anew: neither needs the lock.
pub(super) async fn forget_old(shared: &Shared) -> Result<bool, StoreError> {
    let client = shared.client().await?;
    let before = seconds_ago(shared, GRACE_SECS);
    let traces = execute(&client, sql::DELETE_FREED_TRACES, &[&before, &STEP_ROWS_MAX]).await?;
    let before = seconds_ago(shared, DUPLICATE_KEY_SECS);
    let keys = execute(&client, sql::DELETE_OLD_KEYS, &[&before, &STEP_ROWS_MAX]).await?;
    Ok(traces.max(keys) as i64 >= STEP_ROWS_MAX)
}

/// The bytes of doomed objects, and then their rows: who dies in between has the rows to go on
/// from.
pub(super) async fn remove_doomed(shared: &Shared) -> Result<bool, StoreError> {
    let objects = shared.target.objects().cloned();
    let places = match &objects {
        Some(_) => vec![IN_DATABASE, IN_BUCKET],
        // another node knows the bucket
        None => vec![IN_DATABASE],
    };
    let rows = ask(&*shared.client().await?, DOOMED, &[&places, &STEP_ROWS_MAX]).await?;
    let (mut chunks, mut bucket) = (Vec::new(), Vec::new());
    for row in &rows {
        match int(row, 1)? {
            IN_DATABASE => chunks.push(int(row, 0)?),
            _ => bucket.push(int(row, 0)?),
        }
    }
    if !chunks.is_empty() {
        remove_chunks(shared.client().await?, &chunks).await?;
    }
    if let Some(objects) = objects.filter(|_| !bucket.is_empty()) {
        remove_from_bucket((shared, &objects), &bucket).await?;
    }
    Ok(rows.len() as i64 >= STEP_ROWS_MAX)
}

async fn remove_chunks(mut client: Object, chunks: &[i64]) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(|e| failure(&e))?;
    for statement in [DELETE_CHUNKS, FORGET] {
        transaction.execute(statement, &[&chunks]).await.map_err(|e| failure(&e))?;
    }
    transaction.commit().await.map_err(|e| failure(&e))
}

/// No connection is held while the bucket is asked.
async fn remove_from_bucket(
    (shared, objects): (&Shared, &Objects),
    doomed: &[i64],
) -> Result<(), StoreError> {
    let ids: Vec<ObjectId> = doomed.iter().map(|id| ObjectId(*id)).collect();
    let (removed, failed) = objects.remove(&ids).await;
    execute(&*shared.client().await?, FORGET, &[&&doomed[..removed]]).await?;
    failed
}

fn seconds_ago(shared: &Shared, seconds: i64) -> i64 {
    Timestamp::from_seconds(shared.clock.now().seconds() - seconds).0
}

async fn execute(
    client: &ClientWrapper,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, StoreError> {
    let statement = client.prepare_cached(statement).await.map_err(|e| failure(&e))?;
    client.execute(&statement, parameters).await.map_err(|e| failure(&e))
}

/// Who uploads has given up long before.
const _: () = assert!(STAGING_MAX.as_secs() * 2 <= ABANDONED.as_secs());
