//! A stopped embedded store, as the source or the target of a migration.

use std::collections::HashMap;
use std::fs::File;
use std::future::ready;
use std::ops::Range;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::pack::{PackReader, PackWriter, Place};
use super::{disk, failure, lock, open_database, open_packs};
use crate::store::migrate::{self, Batch, End, Located, Row, Side, Value};
use crate::store::sql::layout::SQLITE;
use crate::store::sql::tables::{Start, Table};
use crate::store::{Answer, StoreError, sql};

/// Most rows in one answer, and the bytes after which it ends.
const ROWS_MAX: usize = 2_000;
const ROWS_BYTES_MAX: usize = 4 << 20;

const FIND_MARK: &str = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1";

/// The store in `data_dir`, which must be there. Held until it is dropped; a daemon that runs on it
/// is an error.
pub fn source(data_dir: &Path) -> Result<Side, StoreError> {
    if !data_dir.join("store.db").exists() {
        let why = format!("there is no store in {}", data_dir.display());
        return Err(StoreError::Unavailable(why));
    }
    target(data_dir)
}

/// As `source`; made if it is not there.
pub fn target(data_dir: &Path) -> Result<Side, StoreError> {
    let pack_dir = data_dir.join("packs");
    std::fs::create_dir_all(&pack_dir).map_err(disk)?;
    let lock = lock(data_dir).map_err(|error| match error {
        StoreError::Unavailable(why) => {
            StoreError::Unavailable(format!("{why} (does a daemon run on it? stop it first)"))
        }
        error => error,
    })?;
    let connection = open_database(&data_dir.join("store.db"))?;
    let writer = open_packs(&connection, &pack_dir)?;
    let reader = PackReader::new(&pack_dir);
    Ok(Side::new(Stopped { connection, reader, writer, _lock: lock }))
}

/// A daemon must not open what is not complete.
pub(super) fn refuse_unfinished(connection: &Connection) -> Result<(), StoreError> {
    match is_marked(connection).map_err(|e| failure(&e))? {
        false => Ok(()),
        true => Err(StoreError::Unavailable(migrate::UNFINISHED.into())),
    }
}

fn is_marked(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .query_row(FIND_MARK, params![migrate::MARK], |_| Ok(()))
        .optional()
        .map(|f| f.is_some())
}

struct Stopped {
    connection: Connection,
    reader: PackReader,
    writer: PackWriter,
    _lock: File,
}

impl Stopped {
    fn note(&self, (name, value): (&str, &[u8])) -> rusqlite::Result<()> {
        self.connection.prepare_cached(migrate::PUT_NOTE)?.execute(params![name, value]).map(|_| ())
    }

    fn read_notes(&self) -> rusqlite::Result<Option<HashMap<String, Vec<u8>>>> {
        if !is_marked(&self.connection)? {
            return Ok(None);
        }
        let mut notes = self.connection.prepare(migrate::NOTES)?;
        let notes = notes.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        notes.collect::<Result<_, _>>().map(Some)
    }

    fn read_rows(&self, table: &Table, after: Option<&Row>) -> rusqlite::Result<Vec<Row>> {
        let start = if after.is_some() { Start::Behind } else { Start::First };
        let mut query = self.connection.prepare_cached(&table.select(start, ROWS_MAX))?;
        let mut found = query.query(params_from_iter(after.into_iter().flatten()))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let row = (0..table.columns.len()).map(|at| Ok(value(row.get_ref(at)?)));
            let row = row.collect::<rusqlite::Result<Row>>()?;
            bytes += row.iter().map(Value::size).sum::<usize>();
            rows.push(row);
            if bytes >= ROWS_BYTES_MAX {
                break;
            }
        }
        Ok(rows)
    }

    fn read(&self, message: &Located, range: &Range<u64>) -> Result<Vec<u8>, StoreError> {
        let start = message.start.unsigned_abs();
        let place = Place { pack: message.pack, start, length: message.length };
        let lost = |e| StoreError::Corrupt(format!("a message in pack {}: {e}", message.pack));
        self.reader.read(&place, range).map_err(lost)
    }

    /// Bytes first, as in every group.
    fn put_all(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.writer.roll_if_full().map_err(disk)?;
        let (table, note) = (batch.table, batch.note.clone());
        let writer = &mut self.writer;
        let rows = batch.located(|message, bytes| {
            let place = writer.append(&message.hash, bytes).map_err(disk)?;
            Ok::<_, StoreError>((place.pack, place.start.cast_signed()))
        })?;
        self.writer.flush().map_err(disk)?;
        if self.writer.has_tail() {
            self.writer.sync().map_err(disk)?;
        }
        self.put_rows(table, (rows, note)).map_err(|e| failure(&e))?;
        self.writer.committed();
        Ok(())
    }

    fn put_rows(
        &self,
        table: &Table,
        (rows, note): (Vec<Row>, (String, Vec<u8>)),
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        let mut put = self.connection.prepare_cached(&table.insert())?;
        for row in rows {
            put.execute(params_from_iter(row.iter()))?;
        }
        if self.writer.has_tail() {
            let end = (self.writer.number(), self.writer.end().cast_signed());
            self.connection.prepare_cached(sql::PUT_PACK_END)?.execute(params![end.0, end.1])?;
        }
        self.note((&note.0, &note.1))?;
        transaction.commit()
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Int(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// There are no other values in any table of ours.
fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl End for Stopped {
    fn notes(&mut self) -> Answer<'_, Option<HashMap<String, Vec<u8>>>> {
        Box::pin(ready(self.read_notes().map_err(|e| failure(&e))))
    }

    fn mark<'a>(&'a mut self, note: (&'a str, &'a [u8])) -> Answer<'a, ()> {
        let marked = || {
            let transaction = self.connection.unchecked_transaction()?;
            self.connection.execute_batch(&SQLITE.written(migrate::MAKE_MARK))?;
            self.note(note)?;
            transaction.commit()
        };
        Box::pin(ready(marked().map_err(|e| failure(&e))))
    }

    fn unmark(&mut self) -> Answer<'_, ()> {
        let removed = self.connection.execute_batch(migrate::REMOVE_MARK);
        Box::pin(ready(removed.map_err(|e| failure(&e))))
    }

    fn count<'a>(&'a mut self, table: &'static Table) -> Answer<'a, u64> {
        let count = self.connection.query_row(&table.count(), [], |row| row.get::<_, i64>(0));
        Box::pin(ready(count.map(i64::unsigned_abs).map_err(|e| failure(&e))))
    }

    fn rows<'a>(
        &'a mut self,
        table: &'static Table,
        after: Option<&'a Row>,
    ) -> Answer<'a, Vec<Row>> {
        Box::pin(ready(self.read_rows(table, after).map_err(|e| failure(&e))))
    }

    fn bodies<'a>(&'a mut self, messages: &'a [Located]) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(ready(messages.iter().map(|message| self.read(message, &(0..u64::MAX))).collect()))
    }

    fn piece(&mut self, message: Located, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        Box::pin(ready(self.read(&message, &range)))
    }

    fn put(&mut self, batch: Batch) -> Answer<'_, ()> {
        let done = self.put_all(batch);
        if done.is_err() {
            self.writer.rewind_to_committed();
        }
        Box::pin(ready(done))
    }
}
