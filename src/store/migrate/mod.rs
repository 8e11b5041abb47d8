//! From one stopped store to another, of whichever engines: table by table as the shared layout
//! lists them, message by message, and then a look whether all of it is there. Rows are copied as
//! they are; only where bytes are (`message.pack` and `start`) is each engine's own.
//!
//! How far it is, is noted in the target with what was copied, so that whoever is interrupted goes
//! on there. Until the end the target is marked, and no daemon opens it.

mod bodies;
mod copy;
#[cfg(test)]
pub(super) mod tests;
mod verify;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::change::Bytes;
use super::sql::tables::{Table, tables};
use super::{Answer, StoreError};

/// The mark in a target that is not complete: a table of names and what is noted of each.
pub(super) const MARK: &str = "migration";
/// What a daemon says that finds it.
pub(super) const UNFINISHED: &str = "this store is the target of a migration that is not complete: \
    run `postfach migrate-store` again as before, and it goes on where it was";
/// Makes it.
pub(super) const MAKE_MARK: &str =
    "CREATE TABLE migration (name TEXT PRIMARY KEY, value {bytes} NOT NULL)";
pub(super) const NOTES: &str = "SELECT name, value FROM migration";
pub(super) const PUT_NOTE: &str = "INSERT INTO migration (name, value) VALUES ($1, $2)
  ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const REMOVE_MARK: &str = "DROP TABLE migration";
/// The note of where the rows come from.
const SOURCE: &str = "source";

/// Only the embedded engine has packs; what is in one is in `message`, too.
const EMBEDDED_ONLY: &str = "pack";
/// The columns of `message` that say where the bytes are.
const PLACE: [&str; 2] = ["pack", "start"];

/// One of the two stores, stopped, and held so that nobody opens it.
pub struct Side(Box<dyn End>);

impl Side {
    pub(super) fn new(end: impl End + 'static) -> Side {
        Side(Box::new(end))
    }
}

/// What a value is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Value {
    /// There is none.
    Null,
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    fn int(&self) -> Option<i64> {
        if let Value::Int(number) = self { Some(*number) } else { None }
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Null | Value::Int(_) => 16,
            Value::Text(text) => 32 + text.len(),
            Value::Bytes(bytes) => 32 + bytes.len(),
        }
    }
}

/// A row, in the order of the table's columns.
pub(super) type Row = Vec<Value>;

/// Where a message's bytes are in one engine, and what they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Located {
    pub(super) pack: i64,
    pub(super) start: i64,
    pub(super) length: u64,
    pub(super) hash: [u8; 32],
}

/// How far a table is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The key of the last row that is there.
    pub(super) after: Option<Row>,
    /// How many rows are.
    pub(super) rows: u64,
    /// How many bytes of messages.
    pub(super) bytes: u64,
    /// Whether that is all.
    pub(super) done: bool,
}

/// Rows on their way, with what is to be noted of them.
pub(super) struct Batch {
    pub(super) table: &'static Table,
    pub(super) rows: Vec<Row>,
    /// For the rows of `message`: their bytes.
    pub(super) bodies: Vec<Bytes>,
    pub(super) note: (String, Vec<u8>),
}

impl Batch {
    /// The rows of `message`, each with its bytes and with where `place` puts them.
    pub(super) fn located<E>(
        self,
        mut place: impl FnMut(&Located, &Bytes) -> Result<(i64, i64), E>,
    ) -> Result<Vec<Row>, E> {
        let columns = message_columns(self.table);
        let put = |(mut row, bytes): (Row, Bytes)| {
            if let Some(columns) = &columns
                && let Some(located) = located(columns, &row)
            {
                let (pack, start) = place(&located, &bytes)?;
                row[columns.pack] = Value::Int(pack);
                row[columns.start] = Value::Int(start);
            }
            Ok(row)
        };
        if self.bodies.is_empty() {
            return Ok(self.rows);
        }
        self.rows.into_iter().zip(self.bodies).map(put).collect()
    }
}

/// What an engine gives and takes here.
pub(super) trait End: Send {
    /// What is noted in a store that is a target; `None` where it is not marked.
    fn notes(&mut self) -> Answer<'_, Option<HashMap<String, Vec<u8>>>>;

    /// Marks it, and notes this.
    fn mark<'a>(&'a mut self, note: (&'a str, &'a [u8])) -> Answer<'a, ()>;

    /// Takes the mark off: it is whole.
    fn unmark(&mut self) -> Answer<'_, ()>;

    /// How many rows a table has.
    fn count<'a>(&'a mut self, table: &'static Table) -> Answer<'a, u64>;

    /// Some rows in the order of their keys, behind the one with this key; none: that was all.
    fn rows<'a>(
        &'a mut self,
        table: &'static Table,
        after: Option<&'a Row>,
    ) -> Answer<'a, Vec<Row>>;

    /// The bytes of some small messages, in this order, as they are found.
    fn bodies<'a>(&'a mut self, messages: &'a [Located]) -> Answer<'a, Vec<Vec<u8>>>;

    /// A piece of a large one.
    fn piece(&mut self, message: Located, range: Range<u64>) -> Answer<'_, Vec<u8>>;

    /// Puts rows, their bytes and the note: durable together, or not at all.
    fn put(&mut self, batch: Batch) -> Answer<'_, ()>;
}

/// How far it is, for who watches.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// What is being done.
    pub phase: Phase,
    /// With which table.
    pub table: &'a str,
    /// Rows of all tables that are done, and how many there are.
    pub rows: (u64, u64),
    /// Bytes of messages that are done.
    pub bytes: u64,
}

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Rows and bytes are copied.
    Copying,
    /// Both stores are read and compared.
    Verifying,
}

/// Why it did not come to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// Nothing was changed: the stores are not as they must be.
    Unfit(String),
    /// A store failed half-way; what is copied stays, and the next run goes on from there.
    HalfWay(StoreError),
    /// All is copied, but it is not the same.
    Differs(String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Stopped {
        Stopped::HalfWay(error)
    }
}

/// Copies everything, and looks whether it is there. Large messages pass through files in
/// `scratch`, one at a time.
pub async fn run(
    (from, to): (&mut Side, &mut Side),
    scratch: PathBuf,
    watch: &mut dyn FnMut(&Report<'_>),
) -> Result<(), Stopped> {
    let (from, to) = (&mut *from.0, &mut *to.0);
    let mut watcher = Watcher::new(from, watch).await?;
    copy::all((from, to), scratch, &mut watcher).await?;
    verify::all((from, to), &mut watcher).await?;
    Ok(to.unmark().await?)
}

/// Counts for who watches.
struct Watcher<'a> {
    watch: &'a mut dyn FnMut(&Report<'_>),
    phase: Phase,
    rows: (u64, u64),
    bytes: u64,
}

impl<'a> Watcher<'a> {
    async fn new(
        from: &mut dyn End,
        watch: &'a mut dyn FnMut(&Report<'_>),
    ) -> Result<Watcher<'a>, StoreError> {
        let mut total = 0;
        for table in shared() {
            total += from.count(table).await?;
        }
        Ok(Watcher { watch, phase: Phase::Copying, rows: (0, total), bytes: 0 })
    }

    fn begin(&mut self, phase: Phase) {
        (self.phase, self.rows.0, self.bytes) = (phase, 0, 0);
    }

    fn done(&mut self, table: &str, (rows, bytes): (u64, u64)) {
        self.rows.0 += rows;
        self.bytes += bytes;
        let report = Report { phase: self.phase, table, rows: self.rows, bytes: self.bytes };
        (self.watch)(&report);
    }
}

/// The tables that every engine has.
fn shared() -> impl Iterator<Item = &'static Table> {
    tables().iter().filter(|table| table.name != EMBEDDED_ONLY)
}

/// Where `message` has what is needed for its bytes.
#[derive(Clone, Copy)]
struct MessageColumns {
    pack: usize,
    start: usize,
    length: usize,
    hash: usize,
}

/// `None` for every other table.
fn message_columns(table: &Table) -> Option<MessageColumns> {
    let column = |name| table.column(name);
    let [pack, start] = PLACE.map(column);
    let found = || {
        Some(MessageColumns {
            pack: pack?,
            start: start?,
            length: column("length")?,
            hash: column("hash")?,
        })
    };
    (table.name == "message").then(found).flatten()
}

fn located(columns: &MessageColumns, row: &Row) -> Option<Located> {
    let Value::Bytes(hash) = &row[columns.hash] else { return None };
    Some(Located {
        pack: row[columns.pack].int()?,
        start: row[columns.start].int()?,
        length: row[columns.length].int()?.unsigned_abs(),
        hash: hash.as_slice().try_into().ok()?,
    })
}
