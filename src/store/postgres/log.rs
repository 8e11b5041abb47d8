//! The log as a node reads it: which groups there are, and whether they lead on from where the node
//! is. A version alone does not say so: a database that was restored counts on from where it was,
//! and one day passes a node that has been further. So each group has a random stamp, and names
//! that of the group before it.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio_postgres::Row;

use super::columns::{bytes, get, int};
use super::head::clock;
use crate::mail::id::MailboxId;
use crate::store::StoreError;
use crate::store::state::Changed;

/// Most groups that are read at a time, and after how many bytes no further one is.
macro_rules! next {
    () => {
        "SELECT version, prior, stamp, data FROM (SELECT version, prior, stamp, data,
  CAST(sum(octet_length(data)) OVER (ORDER BY version) AS BIGINT) - octet_length(data) AS before
  FROM (SELECT version, prior, stamp, data FROM log WHERE version > $1
    ORDER BY version LIMIT 64) AS next) AS few WHERE before < 4194304"
    };
}

/// The groups that follow one.
pub(super) const LOG: &str = concat!(next!(), " ORDER BY version");
/// The same beside the last one of all, which there may be none of, and the time.
pub(super) const FOLLOWING: &str = concat!(
    "SELECT head.version, head.stamp, ",
    clock!(),
    ", log.version, log.prior, log.stamp, log.data FROM head
  LEFT JOIN (",
    next!(),
    ") AS log ON TRUE WHERE head.one = 1 ORDER BY log.version"
);
/// What there was up to a group, the last first.
pub(super) const PAST: &str =
    "SELECT version, stamp FROM log WHERE version <= $1 ORDER BY version DESC LIMIT 10000";
/// How many groups a node remembers.
const REMEMBERED_MAX: usize = 10_000;

/// A group of the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Point {
    /// The how many-th it is.
    pub(super) version: i64,
    /// Which of all that may have had this number.
    pub(super) stamp: i64,
}

impl Point {
    /// Reads columns `at` and `at + 1`.
    pub(super) fn of(row: &Row, at: usize) -> Result<Point, StoreError> {
        Ok(Point { version: int(row, at)?, stamp: int(row, at + 1)? })
    }

    /// The next group, which is ours.
    pub(super) fn next(self) -> Result<Point, StoreError> {
        Ok(Point { version: self.version + 1, stamp: super::blobs::new_object()? })
    }
}

/// A row of the log.
pub(super) struct Logged<'a> {
    pub(super) at: Point,
    pub(super) prior: Point,
    pub(super) data: &'a [u8],
}

impl<'a> Logged<'a> {
    /// Reads columns from `at` on, if there is a row.
    pub(super) fn of(row: &'a Row, at: usize) -> Result<Option<Logged<'a>>, StoreError> {
        let Some(version) = get::<Option<i64>>(row, at)? else { return Ok(None) };
        let prior = Point { version: version - 1, stamp: int(row, at + 1)? };
        let point = Point { version, stamp: int(row, at + 2)? };
        Ok(Some(Logged { at: point, prior, data: bytes(row, at + 3)? }))
    }
}

/// What a node has come through, in case that it turns out never to have been.
#[derive(Debug, Default)]
pub(super) struct Past {
    points: VecDeque<Point>,
    /// In which group a mailbox was changed last.
    touched: HashMap<MailboxId, i64>,
}

impl Past {
    /// Of a node that begins at a group.
    pub(super) fn from(at: Point) -> Past {
        Past { points: VecDeque::from([at]), touched: HashMap::new() }
    }

    /// A group is published.
    pub(super) fn add(&mut self, at: Point, changed: &Changed) {
        if self.points.len() >= REMEMBERED_MAX {
            self.points.pop_front();
        }
        self.points.push_back(at);
        self.touched.extend(changed.mailboxes.keys().map(|id| (*id, at.version)));
    }

    /// The mailboxes that were changed in groups which the database has no more: it was restored.
    /// `there` are its groups up to where the node is, `head` its last one. Where it has forgotten
    /// what the node remembers, nothing is known to be lost.
    pub(super) fn lost(&self, there: &[Point], head: Point) -> Vec<MailboxId> {
        let Some(known) = self.points.back() else { return Vec::new() };
        let there: HashMap<i64, i64> =
            there.iter().chain([&head]).map(|point| (point.version, point.stamp)).collect();
        let differs = |point: &&Point| there.get(&point.version).is_some_and(|s| *s != point.stamp);
        let is_restored = head.version < known.version || self.points.iter().any(|p| differs(&p));
        if !is_restored {
            return Vec::new();
        }
        let same = |point: &&Point| there.get(&point.version) == Some(&point.stamp);
        let base = self.points.iter().rev().find(same).map_or(0, |point| point.version);
        let lost: HashSet<MailboxId> =
            self.touched.iter().filter(|(_, at)| **at > base).map(|(id, _)| *id).collect();
        lost.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(numbers: &[(i64, i64)]) -> Vec<Point> {
        numbers.iter().map(|(version, stamp)| Point { version: *version, stamp: *stamp }).collect()
    }

    fn past() -> Past {
        let mut past = Past::from(Point { version: 5, stamp: 50 });
        for (version, mailbox) in [(6, 1), (7, 2), (8, 3)] {
            let mut changed = Changed::default();
            changed.mailboxes.insert(MailboxId(mailbox), None);
            past.add(Point { version, stamp: version * 10 }, &changed);
        }
        past
    }

    fn lost(there: &[(i64, i64)], head: (i64, i64)) -> Vec<i64> {
        let lost = past().lost(&points(there), Point { version: head.0, stamp: head.1 });
        let mut lost: Vec<i64> = lost.into_iter().map(|id| id.0).collect();
        lost.sort_unstable();
        lost
    }

    #[test]
    fn what_came_after_the_last_group_in_common_is_lost() {
        assert_eq!(lost(&[(6, 60), (5, 50)], (6, 60)), [2, 3], "it is behind");
        assert_eq!(lost(&[(8, 81), (7, 71), (6, 60)], (9, 91)), [2, 3], "it has overtaken");
        assert_eq!(lost(&[(8, 81), (7, 70), (6, 60)], (8, 81)), [3], "it is as far");
        assert_eq!(lost(&[(8, 81), (7, 71), (6, 61)], (9, 91)), [1, 2, 3], "nothing in common");
        assert_eq!(lost(&[], (2, 20)), [1, 2, 3], "there is nothing left");
    }

    #[test]
    fn a_log_that_was_swept_is_no_loss() {
        assert_eq!(lost(&[], (9000, 1)), [0i64; 0]);
        assert_eq!(lost(&[(8, 80)], (9000, 1)), [0i64; 0]);
    }
}
