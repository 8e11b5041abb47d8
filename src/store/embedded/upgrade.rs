//! Brings a store that is empty or was made by an older version to the present layout: all of it in
//! one transaction, so that a crash leaves it as it was.

use std::path::Path;

use rusqlite::{Connection, Row, Transaction, params};

use super::failure;
use crate::mail::message::Envelope;
use crate::store::sql::{self, layout};
use crate::store::texts::{Packed, TextReader};
use crate::store::{StoreError, encode};

/// Makes the tables, or adds what is missing. A newer layout than ours is refused: its rows may
/// mean something that we would destroy.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    match version(connection)? {
        version if version < layout::VERSION => {
            let transaction = connection.transaction().map_err(|e| failure(&e))?;
            step_by_step(&transaction, version)?;
            transaction.commit().map_err(|e| failure(&e))
        }
        layout::VERSION => Ok(()),
        version => Err(StoreError::Unavailable(format!(
            "{} was written by a newer Postfach (layout {version}; this one knows up to {}): run \
             that version or a later one, or restore a backup from before the upgrade",
            path.display(),
            layout::VERSION
        ))),
    }
}

/// The layout of a store; 0: it is empty.
pub(super) fn version(connection: &Connection) -> Result<usize, StoreError> {
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    Ok(usize::try_from(version.map_err(|e| failure(&e))?).unwrap_or(usize::MAX))
}

fn step_by_step(transaction: &Transaction<'_>, mut version: usize) -> Result<(), StoreError> {
    while let Some(statements) = layout::next(&layout::SQLITE, version) {
        transaction.execute_batch(&statements).map_err(|e| failure(&e))?;
        version += 1;
        if version == 2 {
            fill_message_ids(transaction).map_err(|e| failure(&e))?;
            split_texts(transaction)?;
        }
    }
    let noted = transaction.pragma_update(None, "user_version", version as i64);
    noted.map_err(|e| failure(&e))
}

fn fill_message_ids(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut envelopes = transaction.prepare(sql::ALL_ENVELOPES)?;
    let mut put = transaction.prepare(sql::PUT_MESSAGE_ID)?;
    let mut rows = envelopes.query([])?;
    while let Some(row) = rows.next()? {
        let (id, data) = (row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?);
        // A damaged envelope is found when it is asked for; the rest of the store is not to suffer.
        let Ok(envelope) = encode::from_bytes::<Envelope>(data) else { continue };
        for digest in encode::digests(&envelope) {
            put.execute(params![digest, id])?;
        }
    }
    Ok(())
}

fn split_texts(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut old = transaction.prepare(sql::OLD_TEXTS).map_err(|e| failure(&e))?;
    let mut rows = old.query([]).map_err(|e| failure(&e))?;
    let mut texts = TextReader::new()?;
    while let Some(row) = rows.next().map_err(|e| failure(&e))? {
        let (id, data) = text_row(row).map_err(|e| failure(&e))?;
        // A damaged text stays damaged, and is reported when it is asked for.
        let packed = match texts.both(data) {
            Ok(text) => Packed::of(&text)?,
            Err(_) => Packed { header: data.to_vec(), body: data.to_vec() },
        };
        put_texts(transaction, (id, &packed)).map_err(|e| failure(&e))?;
    }
    drop(rows);
    drop(old);
    transaction.execute_batch(sql::DROP_OLD_TEXTS).map_err(|e| failure(&e))
}

fn text_row<'r>(row: &'r Row<'_>) -> rusqlite::Result<(i64, &'r [u8])> {
    Ok((row.get(0)?, row.get_ref(1)?.as_blob()?))
}

fn put_texts(transaction: &Transaction<'_>, (id, packed): (i64, &Packed)) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql::PUT_HEADER_TEXT)?.execute(params![id, packed.header])?;
    transaction.prepare_cached(sql::PUT_BODY_TEXT)?.execute(params![id, packed.body])?;
    transaction.prepare_cached(sql::SET_TEXT_CHECK)?.execute(params![packed.check(), id])?;
    Ok(())
}
