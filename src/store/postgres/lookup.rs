//! Finding messages by what they say. Changes nothing.

use std::collections::HashMap;

use deadpool_postgres::ClientWrapper;

use super::batch::of_ids;
use super::columns::{bytes, int, small};
use super::connection::failure;
use super::pipeline::Pipeline;
use super::readers::ask;
use crate::mail::id::{BlobId, MailboxId, ThreadId, Uid};
use crate::mail::message::Envelope;
use crate::store::{
    INSTANCES_OF_MAX, Instance, Linked, SAME_MESSAGE_ID_MAX, StoreError, encode, sql,
};

pub(super) async fn instances_of(
    client: &ClientWrapper,
    message_id: &str,
) -> Result<Vec<Instance>, StoreError> {
    let is_it = |envelope: &Envelope| envelope.bare_message_id().as_deref() == Some(message_id);
    instances(client, encode::message_id_digest(message_id), is_it).await
}

pub(super) async fn referring_to(
    client: &ClientWrapper,
    message_id: &str,
) -> Result<Vec<Instance>, StoreError> {
    let follows = |envelope: &Envelope| envelope.referred_ids().iter().any(|id| id == message_id);
    instances(client, encode::referred_digest(message_id), follows).await
}

/// Messages come in whole, with their instances: so one question after another does, and a message
/// that goes in between is not found.
async fn instances(
    client: &ClientWrapper,
    digest: i64,
    is_it: impl Fn(&Envelope) -> bool,
) -> Result<Vec<Instance>, StoreError> {
    let most = SAME_MESSAGE_ID_MAX as i64;
    let rows = ask(client, sql::MESSAGES_BY_ID, &[&digest, &most]).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids = rows.iter().map(|row| int(row, 0)).collect::<Result<Vec<_>, _>>()?;
    let rows = ask(client, &of_ids(sql::ENVELOPES), &[&ids]).await?;
    let mut envelopes = HashMap::new();
    for row in &rows {
        envelopes.insert(int(row, 0)?, bytes(row, 1)?);
    }
    // Messages may share a digest only. What is damaged is not found.
    let is_meant = |id: &i64| {
        let envelope = envelopes.get(id).and_then(|data| encode::from_bytes(data).ok());
        envelope.is_some_and(|envelope| is_it(&envelope))
    };
    let meant: Vec<i64> = ids.into_iter().filter(is_meant).collect();
    places(client, &meant).await
}

/// Both of several Message-IDs: two questions each, all on their way at once. Most mail has none
/// that is known.
pub(super) async fn linked_to(
    client: &ClientWrapper,
    message_ids: &[String],
) -> Result<Vec<Linked>, StoreError> {
    let most = SAME_MESSAGE_ID_MAX as i64;
    let digests = |id: &String| [encode::message_id_digest(id), encode::referred_digest(id)];
    let digests: Vec<i64> = message_ids.iter().flat_map(digests).collect();
    let mut pipeline = Pipeline::new(client);
    for digest in &digests {
        pipeline.ask(sql::MESSAGES_BY_ID, vec![digest, &most]).await.map_err(|e| failure(&e))?;
    }
    let read = pipeline.run().await.map_err(|e| failure(&e))?;
    let mut all = Vec::with_capacity(message_ids.len());
    for (id, found) in message_ids.iter().zip(read.chunks(2)) {
        let is_there = |at: usize| found.get(at).is_some_and(|rows| !rows.is_empty());
        let mut linked = Linked::default();
        // who shares a digest is told apart as ever
        if is_there(0) {
            linked.named = instances_of(client, id).await?;
        }
        if is_there(1) {
            linked.following = referring_to(client, id).await?;
        }
        all.push(linked);
    }
    Ok(all)
}

async fn places(client: &ClientWrapper, blobs: &[i64]) -> Result<Vec<Instance>, StoreError> {
    let most = INSTANCES_OF_MAX as i64;
    let mut pipeline = Pipeline::new(client);
    for blob in blobs {
        pipeline.ask(sql::INSTANCES_BY_BLOB, vec![blob, &most]).await.map_err(|e| failure(&e))?;
    }
    let read = pipeline.run().await.map_err(|e| failure(&e))?;
    let mut instances = Vec::new();
    for (blob, rows) in blobs.iter().zip(read) {
        for row in &rows {
            let (mailbox, uid) = (MailboxId(int(row, 0)?), Uid(small(row, 1)?));
            let thread = ThreadId(int(row, 2)?);
            instances.push(Instance { mailbox, uid, blob: BlobId(*blob), thread });
        }
    }
    instances.truncate(INSTANCES_OF_MAX);
    Ok(instances)
}
