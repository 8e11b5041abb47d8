//! Brings a store that is empty or was made by an older version to the present layout: all of it in
//! one transaction, so that a crash leaves it as it was.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use super::{encode, failure};
use crate::mail::message::Envelope;
use crate::store::StoreError;
use crate::store::sql::{self, layout};

/// Makes the tables, or adds what is missing. A newer layout than ours is refused: its rows may
/// mean something that we would destroy.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = version(connection).map_err(|e| failure(&e))?;
    match usize::try_from(version) {
        Ok(version) if version < layout::VERSION => {
            let transaction = connection.transaction().map_err(|e| failure(&e))?;
            step_by_step(&transaction, version).map_err(|e| failure(&e))?;
            transaction.commit().map_err(|e| failure(&e))
        }
        Ok(layout::VERSION) => Ok(()),
        _ => Err(StoreError::Unavailable(format!(
            "{} was written by a newer Postfach (layout {version}; this one knows up to {}): run \
             that version or a later one, or restore a backup from before the upgrade",
            path.display(),
            layout::VERSION
        ))),
    }
}

fn step_by_step(transaction: &Transaction<'_>, mut version: usize) -> rusqlite::Result<()> {
    while let Some(statements) = layout::next(&layout::SQLITE, version) {
        transaction.execute_batch(&statements)?;
        version += 1;
        if version == 2 {
            fill_message_ids(transaction)?;
        }
    }
    transaction.pragma_update(None, "user_version", version as i64)
}

fn fill_message_ids(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut envelopes = transaction.prepare(sql::ALL_ENVELOPES)?;
    let mut put = transaction.prepare(sql::PUT_MESSAGE_ID)?;
    let mut rows = envelopes.query([])?;
    while let Some(row) = rows.next()? {
        let (id, data) = (row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?);
        // A damaged envelope is found when it is asked for; the rest of the store is not to suffer.
        let Ok(envelope) = encode::from_bytes::<Envelope>(data) else { continue };
        if let Some(bare) = envelope.bare_message_id() {
            put.execute(params![encode::message_id_digest(&bare), id])?;
        }
    }
    Ok(())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
