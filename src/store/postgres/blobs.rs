//! Message bytes in the database, in chunks, or in a bucket. What is in memory is written with its
//! group where the database has it; what lies in a file or belongs into the bucket comes before it,
//! as an object that no message refers to yet. Knows no message.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;

use super::batch::{Batch, Column, Value};
use super::columns::{bytes, hash, int};
use super::connection::failure;
use super::readers::ask;
use super::shared::Shared;
use crate::store::StoreError;
use crate::store::change::{Bytes, NewMessage, Transaction};
use crate::store::objects::{ObjectId, Objects, Stored};

/// `message.pack` of what is in the database.
pub(super) const IN_DATABASE: i64 = 0;
/// And of what is in a bucket.
pub(super) const IN_BUCKET: i64 = 1;
/// How long bringing the bytes of a transaction may take: after an hour they count as abandoned.
pub(super) const STAGING_MAX: Duration = Duration::from_secs(30 * 60);
/// How many bytes stand in one row.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// The database's clock, as everything is stamped that nodes compare: microseconds since 1970.
pub(super) const NOW: &str = "CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)";

/// Which of these are stored already, as far as is known.
const KNOWN: &str = "SELECT hash FROM message WHERE hash = ANY($1) AND lost = 0";
const PUT_CHUNK: &str = "INSERT INTO blob (object, chunk, data) VALUES ($1, $2, $3)";
const CHUNKS: &str = "SELECT data FROM blob WHERE object = $1 AND chunk BETWEEN $2 AND $3
  ORDER BY chunk";
/// All of several objects.
pub(super) const ALL_CHUNKS: &str =
    "SELECT object, data FROM blob WHERE object = ANY($1) ORDER BY object, chunk";
/// Which of these a message may still refer to. They stay so until the group ends.
pub(super) const STAGED: &str =
    "SELECT id FROM object WHERE id = ANY($1) AND doomed = 0 FOR UPDATE";
/// A message refers to them from now on.
pub(super) const CLAIM: &str = "DELETE FROM object WHERE id = ANY($1) AND doomed = 0";

/// What is left of messages' bytes goes: they are about to be written anew.
pub(super) fn doom_places() -> String {
    format!(
        "INSERT INTO object (id, place, at, doomed)
           SELECT start, pack, {NOW}, 1 FROM message WHERE id = ANY($1)
           ON CONFLICT (id) DO NOTHING"
    )
}

/// Where bytes are: the place, and the object there.
pub(super) type Placed = (i64, i64);

/// An object's number: random, so that no node has to ask another, and never used again.
pub(super) fn new_object() -> Result<i64, StoreError> {
    let mut number = [0; 8];
    let filled = aws_lc_rs::rand::fill(&mut number);
    filled.map_err(|_| StoreError::Unavailable("no random numbers".into()))?;
    Ok(i64::from_le_bytes(number) & i64::MAX)
}

/// What a transaction's messages are to be before their group, if they are new: each once.
pub(super) fn to_stage<'a>(
    transaction: &'a Transaction,
    objects: Option<&Objects>,
) -> Vec<&'a NewMessage> {
    let mut hashes = HashSet::new();
    let brought = transaction.changes.iter().filter_map(|change| change.brings());
    let early = brought.map(|(message, _)| message).filter(|message| {
        let is_early = objects.is_some() || matches!(message.bytes, Bytes::File { .. });
        is_early && hashes.insert(message.hash)
    });
    early.collect()
}

/// Brings bytes to where they are read.
pub(super) async fn stage(
    shared: &Shared,
    messages: Vec<&NewMessage>,
) -> Result<HashMap<[u8; 32], Placed>, StoreError> {
    let staging = stage_all(shared, messages);
    match timeout(STAGING_MAX, staging).await {
        Ok(staged) => staged,
        Err(_) => Err(StoreError::Unavailable("storing bytes takes too long".into())),
    }
}

/// What is in memory need not be brought twice: where it turns out to be missing after all, it is
/// written with its group.
async fn stage_all(
    shared: &Shared,
    mut messages: Vec<&NewMessage>,
) -> Result<HashMap<[u8; 32], Placed>, StoreError> {
    let small: Vec<&[u8]> = messages
        .iter()
        .filter(|message| matches!(message.bytes, Bytes::Memory(_)))
        .map(|message| &message.hash[..])
        .collect();
    if !small.is_empty() {
        let there = ask(&*shared.client().await?, KNOWN, &[&small]).await?;
        let there = there.iter().map(|row| hash(row, 0)).collect::<Result<HashSet<_>, _>>()?;
        messages.retain(|message| {
            matches!(message.bytes, Bytes::File { .. }) || !there.contains(&message.hash)
        });
    }
    let mut staged = HashMap::new();
    for message in messages {
        let placed = match shared.target.objects() {
            Some(objects) => (IN_BUCKET, put(shared, objects, message).await?),
            None => (IN_DATABASE, upload(&*shared.upload_client().await?, &message.bytes).await?),
        };
        staged.insert(message.hash, placed);
    }
    Ok(staged)
}

/// No connection is held while the bucket is written to.
async fn put(shared: &Shared, objects: &Objects, message: &NewMessage) -> Result<i64, StoreError> {
    let object = announce(&*shared.upload_client().await?, IN_BUCKET).await?;
    let stored = Stored { length: message.bytes.len(), hash: message.hash };
    objects.put(ObjectId(object), &message.bytes, &stored).await?;
    Ok(object)
}

/// The row comes first: a crash in between leaves nothing that nobody knows.
pub(super) async fn announce(client: &ClientWrapper, place: i64) -> Result<i64, StoreError> {
    let object = new_object()?;
    let put = format!("INSERT INTO object (id, place, at, doomed) VALUES ($1, $2, {NOW}, 0)");
    let put = client.prepare_cached(&put).await.map_err(|e| failure(&e))?;
    client.execute(&put, &[&object, &place]).await.map_err(|e| failure(&e))?;
    Ok(object)
}

async fn upload(client: &ClientWrapper, bytes: &Bytes) -> Result<i64, StoreError> {
    let object = announce(client, IN_DATABASE).await?;
    put_chunks(client, object, bytes).await?;
    Ok(object)
}

/// An object's rows, one at a time.
pub(super) async fn put_chunks(
    client: &ClientWrapper,
    object: i64,
    bytes: &Bytes,
) -> Result<(), StoreError> {
    let (path, len) = match bytes {
        Bytes::File { path, len } => (path.clone(), *len),
        Bytes::Memory(bytes) => return put_memory(client, object, bytes).await,
    };
    let put = client.prepare_cached(PUT_CHUNK).await.map_err(|e| failure(&e))?;
    let file = tokio::task::spawn_blocking(|| File::open(path)).await.map_err(io::Error::other);
    let mut file = Some(file.flatten().map_err(|e| spool(&e))?.take(len));
    let mut left = len;
    for chunk in 0_i64.. {
        let Some(mut reader) = file.take().filter(|_| left > 0) else { break };
        let read = move || {
            let mut bytes = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES))];
            reader.read_exact(&mut bytes).map(|()| (bytes, reader))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|e| spool(&io::Error::other(e)))?;
        let (bytes, reader) = read.map_err(|e| spool(&e))?;
        left -= bytes.len() as u64;
        file = Some(reader);
        client.execute(&put, &[&object, &chunk, &bytes]).await.map_err(|e| failure(&e))?;
    }
    Ok(())
}

async fn put_memory(client: &ClientWrapper, object: i64, bytes: &[u8]) -> Result<(), StoreError> {
    let put = client.prepare_cached(PUT_CHUNK).await.map_err(|e| failure(&e))?;
    for (chunk, bytes) in (0_i64..).zip(bytes.chunks(CHUNK_BYTES)) {
        client.execute(&put, &[&object, &chunk, &bytes]).await.map_err(|e| failure(&e))?;
    }
    Ok(())
}

fn spool(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("spool: {error}"))
}

/// The rows of bytes that are written with their group.
#[derive(Default)]
pub(super) struct Chunks<'a>(Vec<(i64, &'a [u8])>);

impl<'a> Chunks<'a> {
    /// Adds an object.
    pub(super) fn add(&mut self, object: i64, bytes: &'a [u8]) {
        self.0.push((object, bytes));
    }

    pub(super) fn batch(&self) -> Batch<'a> {
        let mut batch = Batch::new(PUT_CHUNK, &[Column::Int, Column::Int, Column::Bytes]);
        for (object, bytes) in &self.0 {
            for (number, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
                batch.row([Value::Int(*object), Value::Int(number), Value::bytes(chunk)]);
            }
        }
        batch
    }
}

/// A range of an object's bytes; shorter at its end.
pub(super) async fn read(
    client: &ClientWrapper,
    object: i64,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let chunk_bytes = CHUNK_BYTES as u64;
    let (first, last) = (range.start / chunk_bytes, range.end.saturating_sub(1) / chunk_bytes);
    let number = |chunk| i64::try_from(chunk).unwrap_or(i64::MAX);
    let statement = client.prepare_cached(CHUNKS).await.map_err(|e| failure(&e))?;
    let rows = client.query(&statement, &[&object, &number(first), &number(last)]).await;
    let mut read = Vec::new();
    for row in &rows.map_err(|e| failure(&e))? {
        read.extend_from_slice(bytes(row, 0)?);
    }
    let start = usize::try_from(range.start - first * chunk_bytes).unwrap_or(usize::MAX);
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
    read.drain(..start.min(read.len()));
    read.truncate(length);
    Ok(read)
}

/// All bytes of several objects.
pub(super) async fn read_all(
    client: &ClientWrapper,
    objects: &[i64],
) -> Result<HashMap<i64, Vec<u8>>, StoreError> {
    let statement = client.prepare_cached(ALL_CHUNKS).await.map_err(|e| failure(&e))?;
    let rows = client.query(&statement, &[&objects]).await.map_err(|e| failure(&e))?;
    let mut read: HashMap<i64, Vec<u8>> = HashMap::new();
    for row in &rows {
        read.entry(int(row, 0)?).or_default().extend_from_slice(bytes(row, 1)?);
    }
    Ok(read)
}
