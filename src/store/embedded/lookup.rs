//! Finding messages by what they say. Changes nothing.

use rusqlite::{OptionalExtension, Transaction, params};

use super::readers::Reader;
use super::{encode, failure};
use crate::mail::id::{BlobId, MailboxId, Uid};
use crate::mail::message::Envelope;
use crate::store::{INSTANCES_OF_MAX, Instance, SAME_MESSAGE_ID_MAX, StoreError, sql};

impl Reader {
    /// All of it at one moment.
    pub(super) fn instances_of(&mut self, message_id: &str) -> Result<Vec<Instance>, StoreError> {
        let transaction = self.connection.transaction();
        let found = transaction.and_then(|transaction| instances(&transaction, message_id));
        found.map_err(|e| failure(&e))
    }
}

fn instances(transaction: &Transaction<'_>, message_id: &str) -> rusqlite::Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for blob in messages(transaction, message_id)? {
        let left = INSTANCES_OF_MAX - instances.len();
        if left > 0 && is_it(transaction, (blob, message_id))? {
            instances.extend(instances_of_blob(transaction, (blob, left))?);
        }
    }
    Ok(instances)
}

/// Candidates, the newest first.
fn messages(transaction: &Transaction<'_>, message_id: &str) -> rusqlite::Result<Vec<BlobId>> {
    let digest = encode::message_id_digest(message_id);
    let mut statement = transaction.prepare_cached(sql::MESSAGES_BY_ID)?;
    let rows =
        statement.query_map(params![digest, SAME_MESSAGE_ID_MAX as i64], |row| row.get(0))?;
    rows.map(|row| row.map(BlobId)).collect()
}

/// Whether the message has that identifier, and not only one of the same digest. What is damaged
/// is not found.
fn is_it(
    transaction: &Transaction<'_>,
    (blob, message_id): (BlobId, &str),
) -> rusqlite::Result<bool> {
    let mut statement = transaction.prepare_cached(sql::ENVELOPE)?;
    let data = statement.query_row(params![blob.0], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let envelope = data.and_then(|data| encode::from_bytes::<Envelope>(&data).ok());
    let bare = envelope.and_then(|envelope| envelope.bare_message_id());
    Ok(bare.is_some_and(|bare| bare == message_id))
}

fn instances_of_blob(
    transaction: &Transaction<'_>,
    (blob, max): (BlobId, usize),
) -> rusqlite::Result<Vec<Instance>> {
    let mut statement = transaction.prepare_cached(sql::INSTANCES_BY_BLOB)?;
    let rows = statement.query_map(params![blob.0, max as i64], |row| {
        Ok(Instance { mailbox: MailboxId(row.get(0)?), uid: Uid(row.get(1)?), blob })
    })?;
    rows.collect()
}
