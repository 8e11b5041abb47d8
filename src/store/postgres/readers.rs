//! Reading from the tables. Changes nothing but the mark of what it finds lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use deadpool_postgres::ClientWrapper;
use futures_util::{StreamExt, stream};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::batch::of_ids;
use super::blobs::{self, IN_BUCKET, IN_DATABASE, Placed};
use super::columns::{account, bytes, hash, int, small, text};
use super::connection::failure;
use super::pipeline::Pipeline;
use super::shared::Shared;
use crate::mail::account::Account;
use crate::mail::id::{BlobId, MailboxId, ModSeq, Timestamp, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::audit::{EntryId, Record};
use crate::store::change::UsersRights;
use crate::store::objects::{ObjectId, Objects, Stored};
use crate::store::texts::TextReader;
use crate::store::{Facts, FactsWanted, StoreError, encode, sql};

/// Where several messages are.
const PLACES: &str = "SELECT id, pack, start, hash, length FROM message WHERE id = ANY($1)";
/// How many whole objects of one question are read at a time.
const BUCKET_READS: usize = 16;
/// Several trace fields.
const TRACES: &str = "SELECT id, data FROM trace WHERE id = ANY($1)";

/// The rows that answer a question.
pub(super) async fn ask(
    client: &ClientWrapper,
    question: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(question).await.map_err(|e| failure(&e))?;
    client.query(&statement, parameters).await.map_err(|e| failure(&e))
}

/// A table of facts, and what its rows say.
#[derive(Clone, Copy)]
enum Table {
    Fields,
    Envelopes,
    Structures,
    HeaderTexts,
    BodyTexts,
    Previews,
}

impl Table {
    fn wanted(wanted: FactsWanted) -> Vec<Table> {
        let tables = [
            (wanted.fields, Table::Fields),
            (wanted.envelope, Table::Envelopes),
            (wanted.structure, Table::Structures),
            (wanted.header_text, Table::HeaderTexts),
            (wanted.body_text, Table::BodyTexts),
            (wanted.preview, Table::Previews),
        ];
        tables.into_iter().filter(|(wanted, _)| *wanted).map(|(_, table)| table).collect()
    }

    fn question(self) -> String {
        of_ids(match self {
            Table::Fields => sql::FIELDS,
            Table::Envelopes => sql::ENVELOPES,
            Table::Structures => sql::STRUCTURES,
            Table::HeaderTexts => sql::HEADER_TEXTS,
            Table::BodyTexts => sql::BODY_TEXTS,
            Table::Previews => sql::PREVIEWS,
        })
    }

    fn put(self, facts: &mut Facts, data: &[u8], texts: &mut TextReader) -> Result<(), StoreError> {
        match self {
            Table::Fields => facts.fields = data.to_vec(),
            Table::Envelopes => facts.envelope = Some(encode::from_bytes(data)?),
            Table::Structures => facts.structure = Some(encode::from_bytes(data)?),
            Table::HeaderTexts => facts.header_text = Some(texts.header(data)?),
            Table::BodyTexts => facts.body_text = Some(texts.body(data)?),
            Table::Previews => facts.preview = Some(String::from_utf8_lossy(data).into_owned()),
        }
        Ok(())
    }
}

pub(super) async fn facts(
    client: &ClientWrapper,
    blobs: &[BlobId],
    wanted: FactsWanted,
) -> Result<Vec<Facts>, StoreError> {
    if blobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked: HashMap<i64, Vec<usize>> = HashMap::new();
    for (at, blob) in blobs.iter().enumerate() {
        asked.entry(blob.0).or_default().push(at);
    }
    let ids: Vec<i64> = asked.keys().copied().collect();
    let tables = Table::wanted(wanted);
    let mut pipeline = Pipeline::new(client);
    for table in &tables {
        pipeline.ask(&table.question(), vec![&ids]).await.map_err(|e| failure(&e))?;
    }
    let read = pipeline.run().await.map_err(|e| failure(&e))?;
    let read: Vec<(Table, Vec<Row>)> = tables.into_iter().zip(read).collect();
    let mut facts = vec![Facts::default(); blobs.len()];
    let decode = move || {
        let mut texts = TextReader::new()?;
        for (table, rows) in &read {
            for row in rows {
                for at in asked.get(&int(row, 0)?).into_iter().flatten() {
                    table.put(&mut facts[*at], bytes(row, 1)?, &mut texts)?;
                }
            }
        }
        Ok(facts)
    };
    // unpacking many texts takes a while
    match wanted.body_text || wanted.header_text {
        true => tokio::task::spawn_blocking(decode).await.map_err(|e| stopped(&e))?,
        false => decode(),
    }
}

fn stopped(error: &tokio::task::JoinError) -> StoreError {
    StoreError::Unavailable(format!("reading: {error}"))
}

pub(super) async fn trace(client: &ClientWrapper, id: TraceId) -> Result<Vec<u8>, StoreError> {
    let rows = ask(client, sql::TRACE, &[&id.0]).await?;
    bytes(rows.first().ok_or(StoreError::Gone)?, 0).map(<[u8]>::to_vec)
}

pub(super) async fn tombstones(
    client: &ClientWrapper,
    id: MailboxId,
    since: ModSeq,
) -> Result<UidSet, StoreError> {
    let since = i64::try_from(since.0).unwrap_or(i64::MAX);
    let rows = ask(client, sql::TOMBSTONES, &[&id.0, &since]).await?;
    let ranges = rows.iter().map(|row| Ok((small(row, 0)?, small(row, 1)?)));
    Ok(UidSet::of_ranges(ranges.collect::<Result<_, StoreError>>()?))
}

/// Where a message's bytes are, and what they must be.
pub(super) async fn located(
    client: &ClientWrapper,
    blob: BlobId,
) -> Result<(Placed, Stored), StoreError> {
    let rows = ask(client, sql::PLACE, &[&blob.0]).await?;
    let row = rows.first().ok_or(StoreError::Gone)?;
    let stored = Stored { length: int(row, 2)?.unsigned_abs(), hash: hash(row, 3)? };
    Ok(((int(row, 0)?, int(row, 1)?), stored))
}

/// A range of a message's bytes. What is lost is noted, so that the same bytes heal it when they
/// come in.
pub(super) async fn body(
    shared: &Shared,
    blob: BlobId,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut tried = None;
    loop {
        let (placed, read) = read_at_place(shared, blob, range.clone()).await?;
        match read {
            // it may have been written anew since we looked, or removed
            Err(StoreError::Corrupt(_)) if tried != Some(placed) => tried = Some(placed),
            Err(StoreError::Corrupt(why)) => {
                mark_lost(shared, &[(blob.0, placed)]).await;
                return Err(StoreError::Corrupt(why));
            }
            read => return read,
        }
    }
}

type Read = Result<Vec<u8>, StoreError>;

/// No connection is held while the bucket is asked.
async fn read_at_place(
    shared: &Shared,
    blob: BlobId,
    range: Range<u64>,
) -> Result<(Placed, Read), StoreError> {
    let (placed, stored) = {
        let client = shared.client().await?;
        let (placed, stored) = located(&client, blob).await?;
        if placed.0 == IN_DATABASE {
            let read = read(&client, (placed.1, blob), (range, &stored)).await;
            return Ok((placed, read));
        }
        (placed, stored)
    };
    let objects = shared.target.objects().filter(|_| placed.0 == IN_BUCKET);
    let Some(objects) = objects else {
        let why = format!("message {} is in a bucket, and [store] blobs names none", blob.0);
        return Err(StoreError::Unavailable(why));
    };
    let read = objects.read(ObjectId(placed.1), range, &stored).await;
    let read = read.map_err(|error| match error {
        StoreError::Gone => {
            let why = format!("the object of message {} is missing in {}", blob.0, objects.name());
            StoreError::Corrupt(why)
        }
        error => error,
    });
    Ok((placed, read))
}

/// Notes messages whose bytes are not where they should be. What cannot be noted now is found again
/// by the next who reads it.
async fn mark_lost(shared: &Shared, lost: &[(i64, Placed)]) {
    let Ok(client) = shared.client().await else { return };
    for (id, (place, object)) in lost {
        let _ = ask(&client, sql::MARK_LOST, &[id, place, object]).await;
    }
}

async fn read(
    client: &ClientWrapper,
    (object, blob): (i64, BlobId),
    (range, stored): (Range<u64>, &Stored),
) -> Result<Vec<u8>, StoreError> {
    let range = range.start.min(stored.length)..range.end.min(stored.length);
    let expected = range.end.saturating_sub(range.start);
    if expected == 0 {
        return Ok(Vec::new());
    }
    let bytes = blobs::read(client, object, range).await?;
    match bytes.len() as u64 {
        // the hash is over the whole message, so only a whole message can be checked
        read if read == stored.length => check(bytes, &stored.hash, blob),
        read if read == expected => Ok(bytes),
        _ => Err(StoreError::Corrupt(format!("message {} is not whole", blob.0))),
    }
}

fn check(bytes: Vec<u8>, hash: &[u8; 32], blob: BlobId) -> Result<Vec<u8>, StoreError> {
    match blake3::hash(&bytes).as_bytes() == hash {
        true => Ok(bytes),
        false => Err(StoreError::Corrupt(format!("message {} differs from its hash", blob.0))),
    }
}

/// Whole messages behind their trace fields; those that cannot be read are `None`.
pub(super) async fn messages(
    shared: &Shared,
    wanted: &[(BlobId, TraceId)],
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let ids: Vec<i64> = wanted.iter().map(|(blob, _)| blob.0).collect();
    let traces: Vec<i64> = wanted.iter().map(|(_, trace)| trace.0).collect();
    let client = shared.client().await?;
    let mut pipeline = Pipeline::new(&client);
    pipeline.ask(PLACES, vec![&ids]).await.map_err(|e| failure(&e))?;
    pipeline.ask(TRACES, vec![&traces]).await.map_err(|e| failure(&e))?;
    let mut read = pipeline.run().await.map_err(|e| failure(&e))?.into_iter();
    let (places, traces) = (read.next().unwrap_or_default(), read.next().unwrap_or_default());
    let mut found: HashMap<i64, (Placed, Stored)> = HashMap::new();
    for row in &places {
        let stored = Stored { length: int(row, 4)?.unsigned_abs(), hash: hash(row, 3)? };
        found.insert(int(row, 0)?, ((int(row, 1)?, int(row, 2)?), stored));
    }
    let mut heads: HashMap<i64, &[u8]> = HashMap::from([(TraceId::NONE.0, &b""[..])]);
    for row in &traces {
        heads.insert(int(row, 0)?, bytes(row, 1)?);
    }
    let objects = |place| move |(placed, _): &&(Placed, Stored)| placed.0 == place;
    let chunked: Vec<i64> =
        found.values().filter(objects(IN_DATABASE)).map(|(placed, _)| placed.1).collect();
    let mut bodies = blobs::read_all(&client, &chunked).await?;
    drop(client);
    let in_bucket: Vec<_> = found.values().filter(objects(IN_BUCKET)).copied().collect();
    let mut unread: HashSet<i64> = in_bucket.iter().map(|(placed, _)| placed.1).collect();
    let read = from_bucket(shared.target.objects().cloned(), in_bucket).await;
    for (object, read) in read {
        if matches!(read, Ok(_) | Err(StoreError::Gone | StoreError::Corrupt(_))) {
            unread.remove(&object);
        }
        bodies.extend(read.ok().map(|bytes| (object, bytes)));
    }
    let mut lost = Vec::new();
    let mut whole = |(blob, trace): &(BlobId, TraceId)| {
        let (placed, stored) = found.get(&blob.0)?;
        let body = bodies.get(&placed.1).cloned().unwrap_or_default();
        let body = check(body, &stored.hash, *blob);
        if body.is_err() && !unread.contains(&placed.1) {
            lost.push((blob.0, *placed));
        }
        Some([heads.get(&trace.0)?, &body.ok()?[..]].concat())
    };
    let messages = wanted.iter().map(&mut whole).collect();
    if !lost.is_empty() {
        mark_lost(shared, &lost).await;
    }
    Ok(messages)
}

/// Whole objects, several at a time.
pub(super) async fn from_bucket(
    objects: Option<Objects>,
    wanted: Vec<(Placed, Stored)>,
) -> Vec<(i64, Result<Vec<u8>, StoreError>)> {
    let Some(objects) = objects else { return Vec::new() };
    let reads = wanted.into_iter().map(move |((_, object), stored)| {
        let objects = objects.clone();
        async move { (object, objects.read(ObjectId(object), 0..u64::MAX, &stored).await) }
    });
    stream::iter(reads).buffer_unordered(BUCKET_READS).collect().await
}

pub(super) async fn audited(
    client: &ClientWrapper,
    (first, since): (EntryId, Timestamp),
    max: usize,
) -> Result<Vec<Record>, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = ask(client, sql::AUDITED, &[&first.0, &since.0, &max]).await?;
    let record = |row| {
        let (id, at) = (EntryId(int(row, 0)?), Timestamp(int(row, 1)?));
        Ok(Record { id, at, text: text(row, 2)?.to_owned(), hash: hash(row, 3)? })
    };
    rows.iter().map(record).collect()
}

pub(super) async fn trashed(
    client: &ClientWrapper,
    trash: MailboxId,
) -> Result<BTreeMap<Uid, EntryId>, StoreError> {
    let rows = ask(client, sql::TRASHED, &[&trash.0]).await?;
    rows.iter().map(|row| Ok((Uid(small(row, 0)?), EntryId(int(row, 1)?)))).collect()
}

pub(super) async fn access_known(
    client: &ClientWrapper,
) -> Result<BTreeMap<Account, UsersRights>, StoreError> {
    let rows = ask(client, sql::ACCESS_KNOWN, &[]).await?;
    rows.iter().map(|row| Ok((account(row, 0)?, encode::from_bytes(bytes(row, 2)?)?))).collect()
}
