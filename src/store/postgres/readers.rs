//! Reading from the tables. Changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::batch::of_ids;
use super::blobs::{self, IN_DATABASE, Placed};
use super::columns::{account, bytes, hash, int, small, text};
use super::connection::failure;
use super::pipeline::Pipeline;
use crate::mail::account::Account;
use crate::mail::id::{BlobId, MailboxId, ModSeq, Timestamp, TraceId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::audit::{EntryId, Record};
use crate::store::change::UsersRights;
use crate::store::texts::TextReader;
use crate::store::{Facts, FactsWanted, StoreError, encode, sql};

/// Where several messages are.
const PLACES: &str = "SELECT id, pack, start, hash FROM message WHERE id = ANY($1)";
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

pub(super) async fn body(
    client: &ClientWrapper,
    blob: BlobId,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let rows = ask(client, sql::PLACE, &[&blob.0]).await?;
    let row = rows.first().ok_or(StoreError::Gone)?;
    let (placed, length) = ((int(row, 0)?, int(row, 1)?), int(row, 2)?.unsigned_abs());
    let hash = hash(row, 3)?;
    let range = range.start.min(length)..range.end.min(length);
    let expected = range.end.saturating_sub(range.start);
    if expected == 0 {
        return Ok(Vec::new());
    }
    let bytes = read(client, placed, range).await?;
    match bytes.len() as u64 {
        // the hash is over the whole message, so only a whole message can be checked
        read if read == length => check(bytes, &hash, blob),
        read if read == expected => Ok(bytes),
        _ => Err(StoreError::Corrupt(format!("message {} is not whole", blob.0))),
    }
}

async fn read(
    client: &ClientWrapper,
    (place, object): Placed,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    match place {
        IN_DATABASE => blobs::read(client, object, range).await,
        other => Err(StoreError::Corrupt(format!("object {object} is in place {other}"))),
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
    client: &ClientWrapper,
    wanted: &[(BlobId, TraceId)],
) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
    let ids: Vec<i64> = wanted.iter().map(|(blob, _)| blob.0).collect();
    let traces: Vec<i64> = wanted.iter().map(|(_, trace)| trace.0).collect();
    let mut pipeline = Pipeline::new(client);
    pipeline.ask(PLACES, vec![&ids]).await.map_err(|e| failure(&e))?;
    pipeline.ask(TRACES, vec![&traces]).await.map_err(|e| failure(&e))?;
    let mut read = pipeline.run().await.map_err(|e| failure(&e))?.into_iter();
    let (places, traces) = (read.next().unwrap_or_default(), read.next().unwrap_or_default());
    let mut found: HashMap<i64, (Placed, [u8; 32])> = HashMap::new();
    for row in &places {
        found.insert(int(row, 0)?, ((int(row, 1)?, int(row, 2)?), hash(row, 3)?));
    }
    let mut heads: HashMap<i64, &[u8]> = HashMap::from([(TraceId::NONE.0, &b""[..])]);
    for row in &traces {
        heads.insert(int(row, 0)?, bytes(row, 1)?);
    }
    let objects: Vec<i64> = found
        .values()
        .filter(|((place, _), _)| *place == IN_DATABASE)
        .map(|((_, object), _)| *object)
        .collect();
    let bodies = blobs::read_all(client, &objects).await?;
    let whole = |(blob, trace): &(BlobId, TraceId)| {
        let ((_, object), hash) = found.get(&blob.0)?;
        let body = check(bodies.get(object).cloned().unwrap_or_default(), hash, *blob).ok()?;
        Some([heads.get(&trace.0)?, &body[..]].concat())
    };
    Ok(wanted.iter().map(whole).collect())
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
