//! How the columns of a row are read. Knows no query.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::mail::account::{Account, Folder};
use crate::mail::flag::{KeywordSet, SystemFlags};
use crate::mail::id::{BlobId, Login, ModSeq, ThreadId, Timestamp, TraceId, Uid};
use crate::store::snapshot::Entry;
use crate::store::{StoreError, encode};

/// A column as it is.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<T, StoreError> {
    row.try_get(at).map_err(|error| StoreError::Corrupt(format!("column {at}: {error}")))
}

pub(super) fn int(row: &Row, at: usize) -> Result<i64, StoreError> {
    get(row, at)
}

/// A number that is never negative.
pub(super) fn count(row: &Row, at: usize) -> Result<u64, StoreError> {
    int(row, at).map(i64::unsigned_abs)
}

/// A number of a smaller type.
pub(super) fn small<T: TryFrom<i64>>(row: &Row, at: usize) -> Result<T, StoreError> {
    let number = int(row, at)?;
    let too_large = |_| StoreError::Corrupt(format!("column {at}: {number} is out of range"));
    T::try_from(number).map_err(too_large)
}

pub(super) fn text(row: &Row, at: usize) -> Result<&str, StoreError> {
    get(row, at)
}

pub(super) fn bytes(row: &Row, at: usize) -> Result<&[u8], StoreError> {
    get(row, at)
}

pub(super) fn hash(row: &Row, at: usize) -> Result<[u8; 32], StoreError> {
    let hash = bytes(row, at)?.try_into();
    hash.map_err(|_| StoreError::Corrupt(format!("column {at}: no hash")))
}

pub(super) fn login(row: &Row, at: usize) -> Result<Login, StoreError> {
    text(row, at).map(Login::new)
}

pub(super) fn folder(row: &Row, at: usize) -> Result<Folder, StoreError> {
    text(row, at).map(Folder::new)
}

/// Reads what `encode::account_columns` gave, from columns `at` and `at + 1`.
pub(super) fn account(row: &Row, at: usize) -> Result<Account, StoreError> {
    Ok(encode::account(int(row, at)?, text(row, at + 1)?))
}

/// Reads an instance in the order of `sql::INSTANCES`.
pub(super) fn entry(row: &Row) -> Result<Entry, StoreError> {
    let keywords: Option<&[u8]> = get(row, 10)?;
    Ok(Entry {
        uid: Uid(small(row, 0)?),
        modseq: ModSeq(count(row, 1)?),
        blob: BlobId(int(row, 2)?),
        trace: TraceId(int(row, 3)?),
        thread: ThreadId(int(row, 4)?),
        size_bytes: small(row, 5)?,
        trace_bytes: small(row, 6)?,
        internal_date: Timestamp(int(row, 7)?),
        saved: Timestamp(int(row, 8)?),
        flags: SystemFlags(small(row, 9)?),
        keywords: keywords.map_or(KeywordSet::default(), encode::read_keywords),
    })
}
