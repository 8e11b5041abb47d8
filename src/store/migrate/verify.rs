//! Whether two stores hold the same: every row of every table, and every byte of every message in
//! the target.

use super::bodies::{self, SMALL_BYTES_MAX};
use super::{End, Phase, Row, Stopped, Value, Watcher, located, message_columns, shared};
use crate::store::sql::tables::Table;
use crate::store::{StoreError, encode};

/// How many rows, and a number that says which, in whatever order they come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Digest {
    rows: u64,
    sum: [u64; 4],
}

impl Digest {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let hash = blake3::hash(&encode::to_bytes(row)?);
        self.rows += 1;
        for (sum, bytes) in self.sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let number = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            *sum = sum.wrapping_add(number);
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let numbers = std::iter::once(&self.rows).chain(&self.sum);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }
}

/// Compares everything.
pub(super) async fn all(
    (from, to): (&mut dyn End, &mut dyn End),
    watcher: &mut Watcher<'_>,
) -> Result<(), Stopped> {
    watcher.begin(Phase::Verifying);
    for table in shared() {
        let source = digest(from, table, Depth::Rows).await?;
        let target = digest(to, table, Depth::Bytes(watcher)).await?;
        if source != target {
            return Err(Stopped::Differs(format!(
                "{}: the source has {} rows, the target {}, and they are not the same",
                table.name, source.rows, target.rows
            )));
        }
    }
    Ok(())
}

/// How much of a table is looked at.
pub(super) enum Depth<'a, 'b> {
    /// Its rows.
    Rows,
    /// And all bytes of its messages; who watches is told.
    Bytes(&'a mut Watcher<'b>),
}

/// Of a table as it is, but for where bytes are.
pub(super) async fn digest(
    end: &mut dyn End,
    table: &'static Table,
    mut depth: Depth<'_, '_>,
) -> Result<Digest, Stopped> {
    let mut digest = Digest::default();
    let mut after = None;
    loop {
        let rows = end.rows(table, after.as_ref()).await?;
        let Some(last) = rows.last() else { return Ok(digest) };
        after = Some(key(table, last));
        if let Depth::Bytes(watcher) = &mut depth {
            let bytes = read_messages(end, table, &rows).await?;
            watcher.done(&table.name, (rows.len() as u64, bytes));
        }
        rows.into_iter().try_for_each(|row| digest.add(&placeless(table, row)))?;
    }
}

/// All bytes of these messages, if they are messages; how many.
async fn read_messages(
    end: &mut dyn End,
    table: &'static Table,
    rows: &[Row],
) -> Result<u64, Stopped> {
    let Some(columns) = message_columns(table) else { return Ok(0) };
    let damaged = |error| match error {
        StoreError::Corrupt(why) => Stopped::Differs(why),
        error => Stopped::HalfWay(error),
    };
    let messages: Vec<_> = rows.iter().filter_map(|row| located(&columns, row)).collect();
    let mut rest = &messages[..];
    while let Some(first) = rest.first() {
        let read = if first.length > SMALL_BYTES_MAX {
            bodies::large(end, *first, |_| Ok(())).await.map_err(damaged)?;
            1
        } else {
            bodies::small(end, bodies::first_small(rest)).await.map_err(damaged)?.len()
        };
        rest = &rest[read..];
    }
    Ok(messages.iter().map(|message| message.length).sum())
}

fn key(table: &Table, row: &Row) -> Row {
    table.key.iter().map(|at| row[*at].clone()).collect()
}

fn placeless(table: &Table, mut row: Row) -> Row {
    if let Some(columns) = message_columns(table) {
        row[columns.pack] = Value::Null;
        row[columns.start] = Value::Null;
    }
    row
}
