//! The texts for the index of them, from the tables. Changes nothing.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::failure;
use crate::store::text_index::{Source, Texts};
use crate::store::{StoreError, sql};

/// The tables, by a connection that only reads.
pub(in crate::store) struct Tables(pub(in crate::store) Connection);

impl Source for Tables {
    fn waiting(&mut self, from: i64) -> Result<(u64, u64), StoreError> {
        let statement = self.0.prepare_cached(sql::TEXTS_WAITING);
        let waiting = statement.and_then(|mut statement| {
            statement.query_row(params![from], |row| Ok((row.get(0)?, row.get(1)?)))
        });
        let (messages, bytes): (i64, i64) = waiting.map_err(|e| failure(&e))?;
        Ok((messages.unsigned_abs(), bytes.unsigned_abs()))
    }

    fn texts(&mut self, range: RangeInclusive<i64>, most: i64) -> Result<Vec<Texts>, StoreError> {
        let read = || {
            let mut statement = self.0.prepare_cached(sql::TEXTS_FROM)?;
            let rows = statement.query_map(params![range.start(), range.end(), most], |row| {
                let (id, check) = (row.get(0)?, row.get(1)?);
                Ok(Texts { id, check, header: row.get(2)?, body: row.get(3)? })
            })?;
            rows.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| failure(&e))
    }

    fn checks(&mut self, range: RangeInclusive<i64>) -> Result<Vec<(i64, i64)>, StoreError> {
        let read = || {
            let mut statement = self.0.prepare_cached(sql::TEXT_CHECKS)?;
            let rows = statement.query_map(params![range.start(), range.end()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            });
            rows?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|e| failure(&e))
    }
}
