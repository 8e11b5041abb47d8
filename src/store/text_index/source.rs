//! What the index asks an engine's tables. Each engine answers in its own way, on the thread of the
//! index.

use std::ops::RangeInclusive;

use crate::store::StoreError;

/// The texts as they are stored.
pub(in crate::store) trait Source: Send {
    /// How many messages there are from one on, and the bytes of their texts.
    fn waiting(&mut self, from: i64) -> Result<(u64, u64), StoreError>;

    /// The first messages of a range, ascending, at most so many.
    fn texts(&mut self, range: RangeInclusive<i64>, most: i64) -> Result<Vec<Texts>, StoreError>;

    /// The messages of a range, ascending, each with the check of its texts.
    fn checks(&mut self, range: RangeInclusive<i64>) -> Result<Vec<(i64, i64)>, StoreError>;
}

/// A message's texts, each compressed.
pub(in crate::store) struct Texts {
    /// Which message.
    pub(in crate::store) id: i64,
    /// The check of both that was stored with it.
    pub(in crate::store) check: i64,
    /// The header fields.
    pub(in crate::store) header: Option<Vec<u8>>,
    /// The body.
    pub(in crate::store) body: Option<Vec<u8>>,
}
