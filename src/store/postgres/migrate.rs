//! A database without nodes, as the source or the target of a migration.

use std::collections::HashMap;
use std::ops::Range;

use deadpool_postgres::ClientWrapper;
use futures_util::{StreamExt, TryStreamExt, pin_mut, stream};
use tokio_postgres::types::ToSql;

use super::batch;
use super::blobs::{self, Chunks, IN_BUCKET, IN_DATABASE, NOW, Placed};
use super::columns::{get, int, text};
use super::connection::{Target, failure, is_unknown};
use super::readers::{ask, from_bucket};
use super::{layout, reached};
use crate::store::change::Bytes;
use crate::store::migrate::{self, Batch, End, Located, Row, Side, Value};
use crate::store::objects::{ObjectId, Objects, Stored};
use crate::store::sql::layout::POSTGRES;
use crate::store::sql::tables::{Kind, Start, Table};
use crate::store::{Answer, StoreError};

/// Most rows in one answer, of tables with and without bytes, and the bytes after which it ends.
const ROWS_MAX: (usize, usize) = (64, 2_000);
const ROWS_BYTES_MAX: usize = 4 << 20;
/// Uploads at a time.
const UPLOADS: usize = 16;

const FIND_TABLE: &str = "SELECT count(*) FROM information_schema.tables
  WHERE table_schema = current_schema() AND table_name = $1";
const DROP_CLAIMED: &str = "DELETE FROM object WHERE id = ANY($1)";

/// The store in a database, which must be there. Held until it is dropped; a node that runs on it
/// is an error.
pub async fn source(target: Target) -> Result<Side, StoreError> {
    let client = reached(&target).await?;
    layout::check(&client).await?;
    side(client, target).await
}

/// As `source`; its tables are made if there are none.
pub async fn target(target: Target) -> Result<Side, StoreError> {
    let mut client = reached(&target).await?;
    layout::upgrade(&mut client).await?;
    side(client, target).await
}

async fn side(client: ClientWrapper, target: Target) -> Result<Side, StoreError> {
    if !try_lock(&client, Hold::Alone).await? {
        let why = "a node, or another migration, works on the database: stop all nodes first";
        return Err(StoreError::Unavailable(why.into()));
    }
    let alive = format!("SELECT duty FROM lease WHERE until > {NOW} LIMIT 1");
    if let Some(row) = ask(&client, &alive, &[]).await?.first() {
        return Err(StoreError::Unavailable(format!(
            "a node has the duty {:?} in the database: stop all nodes first (one that was killed \
             counts for some seconds more)",
            text(row, 0)?
        )));
    }
    Ok(Side::new(Stopped { client, objects: target.objects().cloned() }))
}

/// How a database is held, as long as a connection lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    /// By any number of nodes.
    Shared,
    /// By a migration.
    Alone,
}

/// What a node holds as long as this connection lives; refused while a migration has the database,
/// or has left it half-finished.
pub(super) async fn hold(client: &ClientWrapper) -> Result<(), StoreError> {
    if !try_lock(client, Hold::Shared).await? {
        let why = "a migration works on the database: wait for its end";
        return Err(StoreError::Unavailable(why.into()));
    }
    match is_marked(client).await? {
        false => Ok(()),
        true => Err(StoreError::Unavailable(migrate::UNFINISHED.into())),
    }
}

/// The lock is the schema's: others may be in the same database. A server without such locks keeps
/// nobody out: there the leases alone say that a node is at work.
async fn try_lock(client: &ClientWrapper, hold: Hold) -> Result<bool, StoreError> {
    let schema = ask(client, "SELECT CAST(current_schema() AS TEXT)", &[]).await?;
    let schema = schema.first().map_or(Ok(""), |row| text(row, 0))?;
    let hash = blake3::hash(format!("postfach {schema}").as_bytes());
    let key = hash.as_bytes().iter().take(8).fold(0_i64, |key, byte| key << 8 | i64::from(*byte));
    let lock = match hold {
        Hold::Shared => "SELECT pg_try_advisory_lock_shared($1)",
        Hold::Alone => "SELECT pg_try_advisory_lock($1)",
    };
    match client.query_one(lock, &[&key]).await {
        Ok(row) => get(&row, 0),
        Err(error) if is_unknown(&error) => Ok(true),
        Err(error) => Err(failure(&error)),
    }
}

async fn is_marked(client: &ClientWrapper) -> Result<bool, StoreError> {
    let found = ask(client, FIND_TABLE, &[&migrate::MARK]).await?;
    Ok(found.first().map_or(Ok(0), |row| int(row, 0))? > 0)
}

struct Stopped {
    client: ClientWrapper,
    objects: Option<Objects>,
}

impl Stopped {
    async fn read_rows(
        &self,
        table: &'static Table,
        after: Option<&Row>,
    ) -> Result<Vec<Row>, StoreError> {
        let is_wide = table.columns.iter().any(|column| column.kind == Kind::Bytes);
        let max = if is_wide { ROWS_MAX.0 } else { ROWS_MAX.1 };
        let start = if after.is_some() { Start::Behind } else { Start::First };
        let question = self.client.prepare_cached(&table.select(start, max)).await;
        let question = question.map_err(|e| failure(&e))?;
        let after: Vec<batch::Value<'_>> = after.into_iter().flatten().map(parameter).collect();
        let found = self.client.query_raw(&question, after).await.map_err(|e| failure(&e))?;
        pin_mut!(found);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.try_next().await.map_err(|e| failure(&e))? {
            let kinds = table.columns.iter().enumerate();
            let row = kinds.map(|(at, column)| value(&row, at, column.kind));
            let row = row.collect::<Result<Row, _>>()?;
            bytes += row.iter().map(Value::size).sum::<usize>();
            rows.push(row);
            if bytes >= ROWS_BYTES_MAX {
                break;
            }
        }
        Ok(rows)
    }

    async fn read_bodies(&self, messages: &[Located]) -> Result<Vec<Vec<u8>>, StoreError> {
        let of = |place| messages.iter().filter(move |message| message.pack == place);
        let chunked: Vec<i64> = of(IN_DATABASE).map(|message| message.start).collect();
        let mut found = blobs::read_all(&self.client, &chunked).await?;
        let in_bucket: Vec<(Placed, Stored)> = of(IN_BUCKET).map(placed).collect();
        if self.objects.is_none() && !in_bucket.is_empty() {
            return Err(no_bucket());
        }
        for (object, bytes) in from_bucket(self.objects.clone(), in_bucket).await {
            found.insert(object, bytes.map_err(missing)?);
        }
        // what is empty has no chunk
        Ok(messages
            .iter()
            .map(|message| found.remove(&message.start).unwrap_or_default())
            .collect())
    }

    async fn read_piece(&self, message: Located, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if message.pack == IN_DATABASE {
            return blobs::read(&self.client, message.start, range).await;
        }
        let objects = self.objects.as_ref().ok_or_else(no_bucket)?;
        let ((_, object), stored) = placed(&message);
        objects.read(ObjectId(object), range, &stored).await.map_err(missing)
    }

    /// Bytes first; those in the bucket are known to `object` until the message is.
    async fn put_all(&self, batch: Batch) -> Result<(), StoreError> {
        let count = batch.bodies.len();
        let objects: Vec<i64> = match &self.objects {
            Some(_) if count > 0 => self.announce(count).await?,
            _ => (0..count).map(|_| blobs::new_object()).collect::<Result<_, _>>()?,
        };
        let place = if self.objects.is_some() { IN_BUCKET } else { IN_DATABASE };
        let (table, note, bodies) = (batch.table, batch.note.clone(), batch.bodies.clone());
        let mut numbers = objects.iter();
        let mut stored = Vec::with_capacity(count);
        let rows = batch.located(|message, _| {
            stored.push(placed(message).1);
            let number = numbers.next().copied();
            number.map(|number| (place, number)).ok_or_else(|| missing(StoreError::Gone))
        })?;
        if let Some(bucket) = &self.objects {
            upload(bucket.clone(), (&objects, &bodies, &stored)).await?;
        }
        self.plain("BEGIN").await?;
        let bytes = (place == IN_DATABASE).then_some((&objects[..], &bodies[..]));
        let done = self.put_rows((table, &rows), bytes, &objects).await;
        let done = match done {
            Ok(()) => self.note((&note.0, &note.1)).await,
            failed => failed,
        };
        match done {
            Ok(()) => self.plain("COMMIT").await,
            Err(error) => {
                // a connection that is lost has ended it
                let _ = self.plain("ROLLBACK").await;
                Err(error)
            }
        }
    }

    async fn put_rows(
        &self,
        (table, rows): (&Table, &[Row]),
        chunks: Option<(&[i64], &[Bytes])>,
        claimed: &[i64],
    ) -> Result<(), StoreError> {
        let (objects, bodies) = chunks.unwrap_or_default();
        let mut small = Chunks::default();
        for (object, bytes) in objects.iter().zip(bodies) {
            match bytes {
                Bytes::Memory(bytes) => small.add(*object, bytes),
                Bytes::File { .. } => blobs::put_chunks(&self.client, *object, bytes).await?,
            }
        }
        let small = small.batch();
        if !small.is_empty() {
            self.execute(&small.sql(), &small.parameters()).await?;
        }
        if !rows.is_empty() {
            let columns = 0..table.columns.len();
            let of = |at: usize| rows.iter().map(|row| parameter(&row[at])).collect::<Vec<_>>();
            let columns: Vec<Vec<batch::Value<'_>>> = columns.map(of).collect();
            let arrays = columns.iter().map(|column| column as &(dyn ToSql + Sync));
            self.execute(&insert(table), &arrays.collect::<Vec<_>>()).await?;
        }
        if chunks.is_none() && !claimed.is_empty() {
            self.execute(DROP_CLAIMED, &[&claimed]).await?;
        }
        Ok(())
    }

    async fn announce(&self, count: usize) -> Result<Vec<i64>, StoreError> {
        let objects = (0..count).map(|_| blobs::new_object()).collect::<Result<Vec<_>, _>>()?;
        let put = format!(
            "INSERT INTO object (id, place, at, doomed)
               SELECT u.p1, {IN_BUCKET}, {NOW}, 0 FROM UNNEST($1::BIGINT[]) AS u(p1)"
        );
        self.execute(&put, &[&objects]).await?;
        Ok(objects)
    }

    async fn note(&self, (name, value): (&str, &[u8])) -> Result<(), StoreError> {
        self.execute(migrate::PUT_NOTE, &[&name, &value]).await
    }

    async fn execute(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), StoreError> {
        let statement = self.client.prepare_cached(statement).await.map_err(|e| failure(&e))?;
        let done = self.client.execute(&statement, parameters).await;
        done.map(|_| ()).map_err(|e| failure(&e))
    }

    async fn plain(&self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).await.map_err(|e| failure(&e))
    }

    async fn read_notes(&self) -> Result<Option<HashMap<String, Vec<u8>>>, StoreError> {
        if !is_marked(&self.client).await? {
            return Ok(None);
        }
        let rows = ask(&self.client, migrate::NOTES, &[]).await?;
        rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect::<Result<_, _>>().map(Some)
    }

    async fn make_mark(&self, note: (&str, &[u8])) -> Result<(), StoreError> {
        self.plain(&format!("BEGIN; {}", POSTGRES.written(migrate::MAKE_MARK))).await?;
        self.note(note).await?;
        self.plain("COMMIT").await
    }
}

fn no_bucket() -> StoreError {
    StoreError::Unavailable("messages are in a bucket, and [store] blobs names none".into())
}

/// What a message refers to is there, or it is lost.
fn missing(error: StoreError) -> StoreError {
    match error {
        StoreError::Gone => StoreError::Corrupt("the object of a message is missing".into()),
        error => error,
    }
}

fn placed(message: &Located) -> (Placed, Stored) {
    let stored = Stored { length: message.length, hash: message.hash };
    ((message.pack, message.start), stored)
}

/// Several at a time.
async fn upload(
    bucket: Objects,
    (objects, bodies, stored): (&[i64], &[Bytes], &[Stored]),
) -> Result<(), StoreError> {
    let all: Vec<_> = objects.iter().zip(bodies).zip(stored).collect();
    let all: Vec<_> = all.into_iter().map(|((o, b), s)| (*o, b.clone(), *s)).collect();
    let puts = all.into_iter().map(move |(object, bytes, stored)| {
        let bucket = bucket.clone();
        async move { bucket.put(ObjectId(object), &bytes, &stored).await }
    });
    stream::iter(puts).buffer_unordered(UPLOADS).try_collect().await
}

/// As `Batch` does it, for any table.
fn insert(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let arrays = (1..).zip(&table.columns).map(|(n, column)| match column.kind {
        Kind::Int => format!("${n}::BIGINT[]"),
        Kind::Text => format!("${n}::TEXT[]"),
        Kind::Bytes => format!("${n}::BYTEA[]"),
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {} ({}) SELECT * FROM UNNEST({arrays})", table.name, names.join(", "))
}

fn parameter(value: &Value) -> batch::Value<'_> {
    match value {
        Value::Null => batch::Value::MaybeInt(None),
        Value::Int(number) => batch::Value::Int(*number),
        Value::Text(text) => batch::Value::Text(text),
        Value::Bytes(bytes) => batch::Value::bytes(bytes),
    }
}

fn value(row: &tokio_postgres::Row, at: usize, kind: Kind) -> Result<Value, StoreError> {
    Ok(match kind {
        Kind::Int => get::<Option<i64>>(row, at)?.map_or(Value::Null, Value::Int),
        Kind::Text => get::<Option<String>>(row, at)?.map_or(Value::Null, Value::Text),
        Kind::Bytes => get::<Option<Vec<u8>>>(row, at)?.map_or(Value::Null, Value::Bytes),
    })
}

impl End for Stopped {
    fn notes(&mut self) -> Answer<'_, Option<HashMap<String, Vec<u8>>>> {
        Box::pin(self.read_notes())
    }

    fn mark<'a>(&'a mut self, note: (&'a str, &'a [u8])) -> Answer<'a, ()> {
        Box::pin(self.make_mark(note))
    }

    fn unmark(&mut self) -> Answer<'_, ()> {
        Box::pin(self.plain(migrate::REMOVE_MARK))
    }

    fn count<'a>(&'a mut self, table: &'static Table) -> Answer<'a, u64> {
        Box::pin(async move {
            let rows = ask(&self.client, &table.count(), &[]).await?;
            Ok(rows.first().map_or(Ok(0), |row| int(row, 0))?.unsigned_abs())
        })
    }

    fn rows<'a>(
        &'a mut self,
        table: &'static Table,
        after: Option<&'a Row>,
    ) -> Answer<'a, Vec<Row>> {
        Box::pin(self.read_rows(table, after))
    }

    fn bodies<'a>(&'a mut self, messages: &'a [Located]) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(self.read_bodies(messages))
    }

    fn piece(&mut self, message: Located, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        Box::pin(self.read_piece(message, range))
    }

    fn put(&mut self, batch: Batch) -> Answer<'_, ()> {
        Box::pin(async move { self.put_all(batch).await })
    }
}
