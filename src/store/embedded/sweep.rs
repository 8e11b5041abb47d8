//! What the writer does when nobody waits for it: removes messages that no mailbox holds any more,
//! rewrites packs that are mostly dead, forgets old duplicate keys. Each step is small and a
//! transaction of its own, so a crash between two costs nothing.

use std::io::ErrorKind;
use std::time::Instant;

use rusqlite::{OptionalExtension, params};

use super::failure;
use super::load::{self, PackRow};
use super::pack::{HEADER_BYTES, Place};
use super::writer::Writer;
use crate::mail::id::Timestamp;
use crate::mail::message::Envelope;
use crate::store::apply::DUPLICATE_KEY_SECS;
use crate::store::{StoreError, encode, sql};

/// For how long a message can be read after its last instance is gone: sessions may still show it.
pub(in crate::store) const GRACE_SECS: i64 = 600;
/// Most rows that one step removes.
const STEP_ROWS_MAX: i64 = 500;
/// A step of rewriting stops after this many bytes.
const STEP_BYTES_MAX: u64 = 8 << 20;

struct Freed {
    id: i64,
    pack: i64,
    bytes: u64,
}

struct Record {
    id: i64,
    place: Place,
    hash: [u8; 32],
}

impl Writer {
    /// One step; whether there is more to do.
    pub(in crate::store) fn sweep(&mut self) -> Result<bool, StoreError> {
        self.last_sweep = Instant::now();
        let more = self.remove_freed()?;
        Ok(self.rewrite_pack()? || more)
    }

    fn remove_freed(&mut self) -> Result<bool, StoreError> {
        let now = self.shared.clock.now().seconds();
        let before = Timestamp::from_seconds(now - GRACE_SECS).0;
        let keys_before = Timestamp::from_seconds(now - DUPLICATE_KEY_SECS).0;
        let freed = self.freed(before).map_err(|e| failure(&e))?;
        let mut removed = freed.len();
        let done = self.by_itself(|writer| {
            freed.iter().try_for_each(|freed| writer.remove(freed))?;
            let cut = |query, before| {
                let mut statement = writer.connection.prepare_cached(query)?;
                statement.execute(params![before, STEP_ROWS_MAX])
            };
            let traces = cut(sql::DELETE_FREED_TRACES, before)?;
            removed = removed.max(traces).max(cut(sql::DELETE_OLD_KEYS, keys_before)?);
            Ok(())
        })?;
        Ok(done && removed as i64 >= STEP_ROWS_MAX)
    }

    fn freed(&self, before: i64) -> rusqlite::Result<Vec<Freed>> {
        let mut statement = self.connection.prepare_cached(sql::FREED_MESSAGES)?;
        let rows = statement.query_map(params![before, STEP_ROWS_MAX], |row| {
            let bytes = row.get::<_, i64>(2)?.unsigned_abs() + HEADER_BYTES;
            Ok(Freed { id: row.get(0)?, pack: row.get(1)?, bytes })
        })?;
        rows.collect()
    }

    fn remove(&self, freed: &Freed) -> rusqlite::Result<()> {
        self.remove_message_ids(freed.id)?;
        for query in sql::DELETE_MESSAGE {
            self.connection.prepare_cached(query)?.execute(params![freed.id])?;
        }
        let mut dead = self.connection.prepare_cached(sql::ADD_DEAD)?;
        dead.execute(params![freed.bytes.cast_signed(), freed.pack]).map(|_| ())
    }

    fn remove_message_ids(&self, id: i64) -> rusqlite::Result<()> {
        let mut envelope = self.connection.prepare_cached(sql::ENVELOPE)?;
        let envelope =
            envelope.query_row(params![id], |row| row.get::<_, Vec<u8>>(0)).optional()?;
        // What cannot be read was never written by us, and has no row.
        let envelope: Option<Envelope> = envelope.and_then(|data| encode::from_bytes(&data).ok());
        let mut delete = self.connection.prepare_cached(sql::DELETE_MESSAGE_ID)?;
        for digest in envelope.iter().flat_map(encode::digests) {
            delete.execute(params![digest, id])?;
        }
        Ok(())
    }

    /// Moves some messages out of a pack that is mostly dead, and removes it when it is empty.
    fn rewrite_pack(&mut self) -> Result<bool, StoreError> {
        let current = self.pack.number();
        let packs = load::packs(&self.connection).map_err(|e| failure(&e))?;
        let mostly_dead = |pack: &&PackRow| {
            pack.number != current && pack.dead.saturating_mul(2) > pack.committed_end
        };
        let Some(number) = packs.iter().find(mostly_dead).map(|pack| pack.number) else {
            return Ok(false);
        };
        let records = self.records(number).map_err(|e| failure(&e))?;
        if records.is_empty() {
            return self.remove_pack(number);
        }
        let unavailable = |e: std::io::Error| StoreError::Unavailable(e.to_string());
        if self.pack.roll_if_full().is_err() {
            return Ok(false);
        }
        let (mut moved, mut lost) = (Vec::new(), None);
        for record in records {
            let from = (&*self.shared.packs, &record.place);
            match self.pack.append_again(&record.hash, from) {
                Ok(place) => moved.push((record.id, place)),
                // A full disk or a damaged record: left where it is, for the operator.
                Err(error) => {
                    let is_lost = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
                    lost = is_lost.contains(&error.kind()).then_some((record.id, record.place));
                    break;
                }
            }
        }
        if let Some(lost) = lost {
            self.mark_lost(&[lost])?;
        }
        if moved.is_empty() || self.pack.flush().is_err() {
            self.pack.rewind_to_committed();
            return Ok(false);
        }
        self.pack.sync().map_err(unavailable)?;
        let done = self.by_itself(|writer| {
            moved.iter().try_for_each(|(id, place)| writer.note_move(*id, place))?;
            let bytes = moved.iter().map(|(_, place)| place.length + HEADER_BYTES).sum::<u64>();
            let mut dead = writer.connection.prepare_cached(sql::ADD_DEAD)?;
            dead.execute(params![bytes.cast_signed(), number])?;
            writer.put_pack_end()
        })?;
        if done {
            self.pack.committed();
        } else {
            self.pack.rewind_to_committed();
        }
        Ok(done)
    }

    fn remove_pack(&mut self, number: i64) -> Result<bool, StoreError> {
        let removed = self.by_itself(|writer| {
            let mut delete = writer.connection.prepare_cached(sql::DELETE_PACK)?;
            delete.execute(params![number]).map(|_| ())
        })?;
        if removed {
            // What cannot be removed now is removed when the store is opened.
            let _ = self.shared.packs.remove(number);
        }
        Ok(removed)
    }

    fn records(&self, pack: i64) -> rusqlite::Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(sql::MESSAGES_IN_PACK)?;
        let rows = statement.query_map(params![pack, STEP_ROWS_MAX], |row| {
            let start = row.get::<_, i64>(1)?.unsigned_abs();
            let length = row.get::<_, i64>(2)?.unsigned_abs();
            let place = Place { pack, start, length };
            Ok(Record { id: row.get(0)?, place, hash: row.get(3)? })
        })?;
        let mut records: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for record in rows {
            let record = record?;
            bytes += record.place.length;
            records.push(record);
            if bytes >= STEP_BYTES_MAX {
                break;
            }
        }
        Ok(records)
    }

    fn note_move(&self, id: i64, place: &Place) -> rusqlite::Result<()> {
        let mut note = self.connection.prepare_cached(sql::MOVE_MESSAGE)?;
        note.execute(params![place.pack, place.start.cast_signed(), id]).map(|_| ())
    }
}
