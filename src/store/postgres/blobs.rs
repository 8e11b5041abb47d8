//! Message bytes in the database, in chunks. What is in memory is written with its group; what lies
//! in a file comes before it, as an object that no message refers to yet. Knows no message.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;

use deadpool_postgres::ClientWrapper;

use super::batch::{Batch, Column, Value};
use super::columns::{bytes, int};
use super::connection::failure;
use crate::store::StoreError;
use crate::store::change::{Bytes, Transaction};

/// `message.pack` of what is in the database.
pub(super) const IN_DATABASE: i64 = 0;
/// How many bytes stand in one row.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;

/// The database's clock, as everything is stamped that nodes compare: microseconds since 1970.
pub(super) const NOW: &str = "CAST(extract(epoch FROM now()) * 1000000 AS BIGINT)";

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

/// Where bytes are: the place, and the object there.
pub(super) type Placed = (i64, i64);

/// An object's number: random, so that no node has to ask another, and never used again.
pub(super) fn new_object() -> Result<i64, StoreError> {
    let mut number = [0; 8];
    let filled = aws_lc_rs::rand::fill(&mut number);
    filled.map_err(|_| StoreError::Unavailable("no random numbers".into()))?;
    Ok(i64::from_le_bytes(number) & i64::MAX)
}

/// Brings the bytes of a transaction that lie in files into the database.
pub(super) async fn stage(
    client: &ClientWrapper,
    transaction: &Transaction,
) -> Result<HashMap<[u8; 32], Placed>, StoreError> {
    let mut staged = HashMap::new();
    for (message, _) in transaction.changes.iter().filter_map(|change| change.brings()) {
        let Bytes::File { path, len } = &message.bytes else { continue };
        if let Entry::Vacant(place) = staged.entry(message.hash) {
            place.insert((IN_DATABASE, upload(client, (path.clone(), *len)).await?));
        }
    }
    Ok(staged)
}

/// Whether a transaction has bytes that are to be staged.
pub(super) fn is_staged(transaction: &Transaction) -> bool {
    let mut brought = transaction.changes.iter().filter_map(|change| change.brings());
    brought.any(|(message, _)| matches!(message.bytes, Bytes::File { .. }))
}

/// The row comes first: a crash in between leaves nothing that nobody knows.
async fn upload(client: &ClientWrapper, (path, len): (PathBuf, u64)) -> Result<i64, StoreError> {
    let object = new_object()?;
    let put = format!("INSERT INTO object (id, place, at, doomed) VALUES ($1, $2, {NOW}, 0)");
    let put = client.prepare_cached(&put).await.map_err(|e| failure(&e))?;
    client.execute(&put, &[&object, &IN_DATABASE]).await.map_err(|e| failure(&e))?;
    let put = client.prepare_cached(PUT_CHUNK).await.map_err(|e| failure(&e))?;
    let mut file = Some(File::open(path).map_err(|e| spool(&e))?.take(len));
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
    Ok(object)
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
