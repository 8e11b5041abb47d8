//! Finding messages by what they say. Changes nothing.

use rusqlite::{OptionalExtension, Transaction, params};

use super::failure;
use super::readers::Reader;
use crate::mail::id::{BlobId, MailboxId, ThreadId, Uid};
use crate::mail::message::Envelope;
use crate::store::{
    INSTANCES_OF_MAX, Instance, Linked, SAME_MESSAGE_ID_MAX, StoreError, encode, sql,
};

impl Reader {
    /// All of it at one moment.
    pub(super) fn instances_of(&mut self, message_id: &str) -> Result<Vec<Instance>, StoreError> {
        self.at_one_moment(|transaction| named(transaction, message_id))
    }

    /// All of it at one moment.
    pub(super) fn referring_to(&mut self, message_id: &str) -> Result<Vec<Instance>, StoreError> {
        self.at_one_moment(|transaction| following(transaction, message_id))
    }

    /// Both of several, at one moment: most mail has none that is known, and then handing the
    /// question to a thread is most of the work.
    pub(super) fn linked_to(&mut self, message_ids: &[String]) -> Result<Vec<Linked>, StoreError> {
        self.at_one_moment(|transaction| {
            let linked = |id: &String| {
                Ok(Linked {
                    named: named(transaction, id)?,
                    following: following(transaction, id)?,
                })
            };
            message_ids.iter().map(linked).collect()
        })
    }

    fn at_one_moment<T>(
        &mut self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let transaction = self.connection.transaction();
        transaction.and_then(|transaction| read(&transaction)).map_err(|e| failure(&e))
    }
}

fn named(transaction: &Transaction<'_>, message_id: &str) -> rusqlite::Result<Vec<Instance>> {
    let is_it = |envelope: &Envelope| envelope.bare_message_id().as_deref() == Some(message_id);
    instances(transaction, (encode::message_id_digest(message_id), &is_it))
}

fn following(transaction: &Transaction<'_>, message_id: &str) -> rusqlite::Result<Vec<Instance>> {
    let follows = |envelope: &Envelope| envelope.referred_ids().iter().any(|id| id == message_id);
    instances(transaction, (encode::referred_digest(message_id), &follows))
}

fn instances(
    transaction: &Transaction<'_>,
    (digest, is_it): (i64, &impl Fn(&Envelope) -> bool),
) -> rusqlite::Result<Vec<Instance>> {
    let mut instances = Vec::new();
    for blob in messages(transaction, digest)? {
        let left = INSTANCES_OF_MAX - instances.len();
        // Messages may share a digest only. What is damaged is not found.
        if left > 0 && envelope(transaction, blob)?.is_some_and(|envelope| is_it(&envelope)) {
            instances.extend(instances_of_blob(transaction, (blob, left))?);
        }
    }
    Ok(instances)
}

/// Candidates, the newest first.
fn messages(transaction: &Transaction<'_>, digest: i64) -> rusqlite::Result<Vec<BlobId>> {
    let mut statement = transaction.prepare_cached(sql::MESSAGES_BY_ID)?;
    let rows =
        statement.query_map(params![digest, SAME_MESSAGE_ID_MAX as i64], |row| row.get(0))?;
    rows.map(|row| row.map(BlobId)).collect()
}

fn envelope(transaction: &Transaction<'_>, blob: BlobId) -> rusqlite::Result<Option<Envelope>> {
    let mut statement = transaction.prepare_cached(sql::ENVELOPE)?;
    let data = statement.query_row(params![blob.0], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(data.and_then(|data| encode::from_bytes::<Envelope>(&data).ok()))
}

fn instances_of_blob(
    transaction: &Transaction<'_>,
    (blob, max): (BlobId, usize),
) -> rusqlite::Result<Vec<Instance>> {
    let mut statement = transaction.prepare_cached(sql::INSTANCES_BY_BLOB)?;
    let rows = statement.query_map(params![blob.0, max as i64], |row| {
        let (mailbox, uid) = (MailboxId(row.get(0)?), Uid(row.get(1)?));
        Ok(Instance { mailbox, uid, blob, thread: ThreadId(row.get(2)?) })
    })?;
    rows.collect()
}
