//! How the columns of a row are read. Knows no query.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::mail::account::Account;
use crate::mail::flag::{KeywordSet, SystemFlags};
use crate::mail::id::{BlobId, ModSeq, ThreadId, Timestamp, TraceId, Uid};
use crate::store::encode;
use crate::store::snapshot::Entry;

/// Reads what `encode::account_columns` gave, from columns `at` and `at + 1`.
pub(super) fn account(row: &Row<'_>, at: usize) -> rusqlite::Result<Account> {
    Ok(encode::account(row.get(at)?, text(row, at + 1)?))
}

/// Text in place.
pub(super) fn text<'r>(row: &'r Row<'_>, at: usize) -> rusqlite::Result<&'r str> {
    Ok(row.get_ref(at)?.as_str()?)
}

/// Reads an instance in the order of `sql::INSTANCES`.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let keywords = match row.get_ref(10)? {
        ValueRef::Null => KeywordSet::default(),
        value => encode::read_keywords(value.as_blob()?),
    };
    Ok(Entry {
        uid: Uid(row.get(0)?),
        modseq: ModSeq(row.get::<_, i64>(1)?.unsigned_abs()),
        blob: BlobId(row.get(2)?),
        trace: TraceId(row.get(3)?),
        thread: ThreadId(row.get(4)?),
        size_bytes: row.get(5)?,
        trace_bytes: row.get(6)?,
        internal_date: Timestamp(row.get(7)?),
        saved: Timestamp(row.get(8)?),
        flags: SystemFlags(row.get(9)?),
        keywords,
    })
}
