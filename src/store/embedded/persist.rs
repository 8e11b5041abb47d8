//! From rows to tables: what a group of transactions writes, inside one SQL transaction that the
//! caller begins and commits. Decides nothing.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, params};

use super::pack::{HEADER_BYTES, Place};
use crate::mail::account::Account;
use crate::mail::id::{BlobId, Login, Timestamp};
use crate::store::change::NewMessage;
use crate::store::encode::{self, Encoded};
use crate::store::nodes::Published;
use crate::store::queue::Queued;
use crate::store::rows::Rows;
use crate::store::state::{Changed, Counters, Held};
use crate::store::{StoreError, sql};

/// A group on its way to the tables.
pub(super) struct Group<'a> {
    pub(super) changed: &'a Changed,
    pub(super) places: &'a HashMap<BlobId, Place>,
    pub(super) encoded: &'a HashMap<[u8; 32], Encoded>,
    pub(super) now: Timestamp,
}

/// Writes all rows of a group.
pub(super) fn write(connection: &Connection, group: &Group<'_>) -> rusqlite::Result<()> {
    let rows = &group.changed.rows;
    messages(connection, group)?;
    traces(connection, group)?;
    instances(connection, rows)?;
    mirrored(connection, rows)?;
    overlays(connection, rows)?;
    mailboxes(connection, group.changed)?;
    queue(connection, rows)?;
    choices(connection, rows)?;
    nodes(connection, group.changed)?;
    audit(connection, group.changed)
}

/// The log's new end in the same transaction: a crash leaves both or neither.
fn audit(connection: &Connection, changed: &Changed) -> rusqlite::Result<()> {
    let Some(tip) = changed.audit else { return access_known(connection, &changed.rows) };
    let mut put = connection.prepare_cached(sql::PUT_AUDIT)?;
    for record in &changed.rows.audit {
        put.execute(params![record.id.0, record.at.0, record.text, record.hash.as_slice()])?;
    }
    let mut put = connection.prepare_cached(sql::PUT_AUDIT_TIP)?;
    put.execute(params![tip.id.0, tip.hash.as_slice()])?;
    let mut put = connection.prepare_cached(sql::PUT_TRASHED)?;
    let mut delete = connection.prepare_cached(sql::DELETE_TRASHED)?;
    for ((mailbox, uid), entry) in &changed.rows.trashed {
        match entry {
            Some(entry) => put.execute(params![mailbox.0, uid.0, entry.0])?,
            None => delete.execute(params![mailbox.0, uid.0])?,
        };
    }
    people(connection, &changed.rows)?;
    access_known(connection, &changed.rows)
}

fn nodes(connection: &Connection, changed: &Changed) -> rusqlite::Result<()> {
    if let Some(Published { text, at, host, salts }) = changed.directory.as_deref() {
        let mut put = connection.prepare_cached(sql::PUT_DIRECTORY)?;
        put.execute(params![text.as_bytes(), at.0, host, salts.as_slice()])?;
    }
    let mut put = connection.prepare_cached(sql::PUT_TENURE)?;
    for (duty, number) in &changed.tenures {
        put.execute(params![duty.name(), number])?;
    }
    Ok(())
}

fn people(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_ABSENCE)?;
    let mut delete = connection.prepare_cached(sql::DELETE_ABSENCE)?;
    for (user, until) in &rows.absences {
        match until {
            Some(until) => put.execute(params![user.as_str(), until.0])?,
            None => delete.execute(params![user.as_str()])?,
        };
    }
    let mut put = connection.prepare_cached(sql::PUT_OPENING)?;
    let mut delete = connection.prepare_cached(sql::DELETE_OPENING)?;
    for ((user, of), until) in &rows.openings {
        match until {
            Some(until) => put.execute(params![user.as_str(), of.as_str(), until.0])?,
            None => delete.execute(params![user.as_str(), of.as_str()])?,
        };
    }
    Ok(())
}

fn access_known(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_ACCESS_KNOWN)?;
    for (account, rights) in &rows.access_known {
        let (kind, account) = encode::account_columns(account);
        put.execute(params![kind, account, bytes(rights)?])?;
    }
    Ok(())
}

fn messages(connection: &Connection, group: &Group<'_>) -> rusqlite::Result<()> {
    let mut references = group.changed.rows.blob_references.clone();
    for (id, message) in &group.changed.rows.blobs {
        let place = group.places.get(id).ok_or_else(incomplete)?;
        let encoded = group.encoded.get(&message.hash).ok_or_else(incomplete)?;
        let instances = references.remove(id).unwrap_or(0);
        put_message(connection, (*id, message, place), (encoded, instances, group.now))
            .and_then(|()| put_facts(connection, *id, encoded))?;
    }
    let mut dead = connection.prepare_cached(sql::ADD_DEAD_OF)?;
    let mut heal = connection.prepare_cached(sql::HEAL_MESSAGE)?;
    for (id, _) in &group.changed.rows.healed {
        let place = group.places.get(id).ok_or_else(incomplete)?;
        dead.execute(params![HEADER_BYTES.cast_signed(), id.0])?;
        heal.execute(params![place.pack, place.start.cast_signed(), id.0])?;
    }
    let mut keep = connection.prepare_cached(sql::KEEP_PREVIEW)?;
    for (id, preview) in &group.changed.rows.previews {
        keep.execute(params![id.0, preview.as_bytes()])?;
    }
    let mut count = connection.prepare_cached(sql::COUNT_MESSAGE)?;
    for (id, delta) in references.iter().filter(|(_, delta)| **delta != 0) {
        count.execute(params![delta, group.now.0, id.0])?;
    }
    Ok(())
}

/// A message without bytes or facts; the writer brings both.
fn incomplete() -> rusqlite::Error {
    let problem = StoreError::Unavailable("a message without bytes or facts".into());
    rusqlite::Error::ToSqlConversionFailure(Box::new(problem))
}

fn put_message(
    connection: &Connection,
    (id, message, place): (BlobId, &NewMessage, &Place),
    (encoded, instances, now): (&Encoded, i64, Timestamp),
) -> rusqlite::Result<()> {
    let freed = (instances == 0).then_some(now.0);
    let (start, length) = (place.start.cast_signed(), place.length.cast_signed());
    let (hash, check) = (message.hash.as_slice(), encoded.text.check());
    let mut put = connection.prepare_cached(sql::PUT_MESSAGE)?;
    put.execute(params![id.0, hash, place.pack, start, length, instances, freed, check])?;
    Ok(())
}

fn put_facts(connection: &Connection, id: BlobId, encoded: &Encoded) -> rusqlite::Result<()> {
    let tables = [
        (sql::PUT_ENVELOPE, &encoded.envelope),
        (sql::PUT_STRUCTURE, &encoded.structure),
        (sql::PUT_FIELDS, &encoded.fields),
        (sql::PUT_HEADER_TEXT, &encoded.text.header),
        (sql::PUT_BODY_TEXT, &encoded.text.body),
        (sql::PUT_PREVIEW, &encoded.preview),
    ];
    for (query, data) in tables {
        connection.prepare_cached(query)?.execute(params![id.0, data])?;
    }
    let mut put = connection.prepare_cached(sql::PUT_MESSAGE_ID)?;
    for digest in &encoded.digests {
        put.execute(params![digest, id.0])?;
    }
    Ok(())
}

fn traces(connection: &Connection, group: &Group<'_>) -> rusqlite::Result<()> {
    let mut references = group.changed.rows.trace_references.clone();
    let mut put = connection.prepare_cached(sql::PUT_TRACE)?;
    for (id, data) in &group.changed.rows.traces {
        let instances = references.remove(id).unwrap_or(0);
        let freed = (instances == 0).then_some(group.now.0);
        put.execute(params![id.0, data, instances, freed])?;
    }
    let mut count = connection.prepare_cached(sql::COUNT_TRACE)?;
    for (id, delta) in references.iter().filter(|(_, delta)| **delta != 0) {
        count.execute(params![delta, group.now.0, id.0])?;
    }
    Ok(())
}

fn instances(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_INSTANCE)?;
    let mut delete = connection.prepare_cached(sql::DELETE_INSTANCE)?;
    for ((mailbox, uid), entry) in &rows.instances {
        let Some(entry) = entry else {
            delete.execute(params![mailbox.0, uid.0])?;
            continue;
        };
        put.execute(params![
            mailbox.0,
            uid.0,
            entry.modseq.0.cast_signed(),
            entry.blob.0,
            entry.trace.0,
            entry.thread.0,
            entry.size_bytes,
            entry.trace_bytes,
            entry.internal_date.0,
            entry.saved.0,
            entry.flags.0,
            encode::keyword_bytes(&entry.keywords),
        ])?;
    }
    let mut put = connection.prepare_cached(sql::PUT_TOMBSTONE)?;
    for stone in &rows.tombstones {
        let modseq = stone.modseq.0.cast_signed();
        put.execute(params![stone.mailbox.0, modseq, stone.first.0, stone.last.0])?;
    }
    Ok(())
}

fn mirrored(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_MIRRORED)?;
    let mut delete = connection.prepare_cached(sql::DELETE_MIRRORED)?;
    for ((mailbox, uid), entry) in &rows.mirrored {
        let Some((entry, origin)) = entry else {
            delete.execute(params![mailbox.0, uid.0])?;
            continue;
        };
        put.execute(params![
            mailbox.0,
            uid.0,
            entry.modseq.0.cast_signed(),
            entry.blob.0,
            entry.trace.0,
            entry.thread.0,
            entry.size_bytes,
            entry.trace_bytes,
            entry.internal_date.0,
            entry.saved.0,
            entry.flags.0,
            encode::keyword_bytes(&entry.keywords),
            origin.mailbox.0,
            origin.uid.0,
        ])?;
    }
    Ok(())
}

fn overlays(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_OVERLAY)?;
    for ((mailbox, login, number), block) in &rows.blocks {
        let (seen, runs) = (block.seen.cast_signed(), bytes(&block.runs)?);
        let row = params![mailbox.0, login.as_str(), number, seen, runs];
        put.execute(row)?;
    }
    Ok(())
}

/// Recipients first: with a message that has left go those that a group wrote before.
fn queue(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_QUEUED_RECIPIENT)?;
    let mut delete = connection.prepare_cached(sql::DELETE_QUEUED_RECIPIENT)?;
    for ((id, number), recipient) in &rows.queued_recipients {
        match recipient {
            Some(recipient) => put.execute(params![id.0, number, bytes(recipient)?])?,
            None => delete.execute(params![id.0, number])?,
        };
    }
    for (id, queued) in &rows.queued {
        match queued {
            Some(queued) => put_queued(connection, queued)?,
            None => delete_each(connection, (&sql::DELETE_QUEUED, id.0))?,
        }
    }
    Ok(())
}

fn put_queued(connection: &Connection, queued: &Queued) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_QUEUED)?;
    let (size_bytes, envelope) = (queued.size_bytes.cast_signed(), bytes(&*queued.envelope)?);
    put.execute(params![queued.id.0, queued.blob.0, queued.trace.0, size_bytes, envelope])?;
    Ok(())
}

fn bytes<T: serde::Serialize>(value: &T) -> rusqlite::Result<Vec<u8>> {
    let bytes = encode::to_bytes(value);
    bytes.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn mailboxes(connection: &Connection, changed: &Changed) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_MAILBOX)?;
    for held in changed.mailboxes.values().flatten() {
        put_mailbox(&mut put, held)?;
    }
    let mut put = connection.prepare_cached(sql::PUT_KEYWORD)?;
    for (mailbox, number, name) in &changed.rows.keywords {
        put.execute(params![mailbox.0, number, &**name])?;
    }
    for id in &changed.rows.deleted {
        delete_each(connection, (&sql::DELETE_MAILBOX, id.0))?;
    }
    match changed.counters {
        Some(counters) => put_counters(connection, counters),
        None => Ok(()),
    }
}

fn put_mailbox(put: &mut CachedStatement<'_>, held: &Held) -> rusqlite::Result<()> {
    let mailbox = &held.mailbox;
    let (kind, account) = encode::account_columns(&mailbox.account);
    put.execute(params![
        mailbox.id.0,
        kind,
        account,
        mailbox.folder.path(),
        mailbox.uid_validity.0,
        held.uid_next.0,
        held.highest_modseq.0.cast_signed(),
        held.usage.messages.cast_signed(),
        held.usage.bytes.cast_signed(),
    ])?;
    Ok(())
}

/// Runs queries that each remove what belongs to `id`.
fn delete_each(connection: &Connection, (queries, id): (&[&str], i64)) -> rusqlite::Result<()> {
    for query in queries {
        connection.prepare_cached(query)?.execute(params![id])?;
    }
    Ok(())
}

/// Numbers are never used twice, so the counters are stored and not taken from what is there.
fn put_counters(connection: &Connection, counters: Counters) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_COUNTER)?;
    let values = [
        ("mailbox", counters.mailbox),
        ("message", counters.blob),
        ("trace", counters.trace),
        ("thread", counters.thread),
        ("queue", counters.queue),
        ("uid_validity", i64::from(counters.uid_validity)),
    ];
    for (name, value) in values {
        put.execute(params![name, value])?;
    }
    Ok(())
}

fn choices(connection: &Connection, rows: &Rows) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(sql::PUT_SUBSCRIPTION)?;
    for ((login, account, folder), subscribed) in &rows.subscriptions {
        let (kind, account) = encode::account_columns(account);
        let subscribed = i64::from(*subscribed);
        put.execute(params![login.as_str(), kind, account, folder.path(), subscribed])?;
    }
    for ((user, mailbox, entry), value) in &rows.metadata {
        let login = user.as_ref().map_or("", Login::as_str);
        let key = (login, mailbox.map_or(0, |id| id.0), entry.as_str());
        put_metadata(connection, key, value.as_deref())?;
    }
    for (of, rights) in &rows.grants {
        put_grant(connection, of, rights.as_deref())?;
    }
    let mut put = connection.prepare_cached(sql::PUT_TURN)?;
    for ((account, user), number) in &rows.turns {
        let (kind, account) = encode::account_columns(account);
        put.execute(params![kind, account, user.as_str(), number.cast_signed()])?;
    }
    let mut put = connection.prepare_cached(sql::PUT_DUPLICATE_KEY)?;
    for (key, used) in &rows.duplicate_keys {
        put.execute(params![key.as_slice(), used.0])?;
    }
    Ok(())
}

fn put_metadata(
    connection: &Connection,
    (login, mailbox, entry): (&str, i64, &str),
    value: Option<&[u8]>,
) -> rusqlite::Result<()> {
    match value {
        Some(value) => {
            let mut put = connection.prepare_cached(sql::PUT_METADATA)?;
            put.execute(params![login, mailbox, entry, value])?;
        }
        None => {
            let mut delete = connection.prepare_cached(sql::DELETE_METADATA)?;
            delete.execute(params![login, mailbox, entry])?;
        }
    }
    Ok(())
}

fn put_grant(
    connection: &Connection,
    (account, user): &(Account, Login),
    rights: Option<&str>,
) -> rusqlite::Result<()> {
    let (kind, account) = encode::account_columns(account);
    match rights {
        Some(rights) => {
            let mut put = connection.prepare_cached(sql::PUT_GRANT)?;
            put.execute(params![kind, account, user.as_str(), rights])?;
        }
        None => {
            let mut delete = connection.prepare_cached(sql::DELETE_GRANT)?;
            delete.execute(params![kind, account, user.as_str()])?;
        }
    }
    Ok(())
}
