//! Reading the audit log, and what refers to it. Changes nothing.

use std::collections::BTreeMap;

use rusqlite::params;

use super::readers::Reader;
use super::{columns, failure};
use crate::mail::account::Account;
use crate::mail::id::{MailboxId, Timestamp, Uid};
use crate::store::audit::{EntryId, Record};
use crate::store::change::UsersRights;
use crate::store::{StoreError, encode, sql};

impl Reader {
    pub(super) fn audited(
        &mut self,
        (first, since): (EntryId, Timestamp),
        max: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let mut statement =
            self.connection.prepare_cached(sql::AUDITED).map_err(|e| failure(&e))?;
        let rows = statement.query_map(params![first.0, since.0, max], |row| {
            let (id, at) = (EntryId(row.get(0)?), Timestamp(row.get(1)?));
            Ok(Record { id, at, text: row.get(2)?, hash: row.get(3)? })
        });
        rows.and_then(Iterator::collect).map_err(|e| failure(&e))
    }

    pub(super) fn trashed(
        &mut self,
        trash: MailboxId,
    ) -> Result<BTreeMap<Uid, EntryId>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql::TRASHED).map_err(|e| failure(&e))?;
        let rows = statement
            .query_map(params![trash.0], |row| Ok((Uid(row.get(0)?), EntryId(row.get(1)?))));
        rows.and_then(Iterator::collect).map_err(|e| failure(&e))
    }

    pub(super) fn access_known(&mut self) -> Result<BTreeMap<Account, UsersRights>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql::ACCESS_KNOWN).map_err(|e| failure(&e))?;
        let rows = statement
            .query_map([], |row| Ok((columns::account(row, 0)?, row.get::<_, Vec<u8>>(2)?)));
        let rows = rows.map_err(|e| failure(&e))?;
        let mut known = BTreeMap::new();
        for row in rows {
            let (account, rights) = row.map_err(|e| failure(&e))?;
            known.insert(account, encode::from_bytes(&rights)?);
        }
        Ok(known)
    }
}
