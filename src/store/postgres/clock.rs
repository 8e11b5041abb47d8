//! The time of all nodes on one database: the database's. It is heard with each group and each look
//! at the log; in between it goes on by this machine's timer, which nobody sets. So what ends at
//! some time ends on all nodes at once, whatever a machine's own clock says.
//!
//! It never goes back by what an answer is uncertain. Where the database's clock itself is set, all
//! nodes follow it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::mail::id::Timestamp;
use crate::sys::{Clock, Heard};

/// By how much clocks may differ before the operator is told. As far as this, the time stands still
/// rather than to go back.
const SKEW_MAX_MICROS: i64 = 5_000_000;

/// A clock that agrees with the database's, once it has heard it.
pub struct DatabaseClock {
    own: Arc<dyn Clock>,
    start: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The database's time when this clock was made; `None`: it was never heard.
    base: Option<i64>,
    /// The latest time that was given out.
    last: i64,
    /// By how much the own clock is ahead, as the operator was told.
    told: i64,
}

/// What the operator is to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Remark {
    /// The own clock is ahead by so much, or behind.
    Skewed(i64),
    /// It agrees again.
    Agrees,
    /// The database's clock went on by so much more than the timer, or by less.
    Set(i64),
}

impl DatabaseClock {
    /// Until the database is heard, the time is `own`'s.
    pub fn new(own: Arc<dyn Clock>) -> DatabaseClock {
        DatabaseClock { own, start: Instant::now(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self, moment: Instant) -> i64 {
        let since = moment.saturating_duration_since(self.start).as_micros();
        i64::try_from(since).unwrap_or(i64::MAX)
    }

    fn take(&self, heard: &Heard, own: Timestamp) -> (Timestamp, Vec<Remark>) {
        let mut known = self.known();
        let remarks =
            known.take(heard.said, (self.micros(heard.asked), self.micros(heard.answered)), own);
        (known.at(heard.said.0), remarks)
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let mut known = self.known();
        match known.base {
            Some(base) => known.at(base + self.micros(Instant::now())),
            None => self.own.now(),
        }
    }

    fn hear(&self, heard: Heard) -> Timestamp {
        let (now, remarks) = self.take(&heard, self.own.now());
        remarks.into_iter().for_each(tell);
        now
    }
}

impl Known {
    /// That time, or the latest that was given out.
    fn at(&mut self, time: i64) -> Timestamp {
        self.last = self.last.max(time);
        Timestamp(self.last)
    }

    /// What was said lies between two readings of the timer. As long as what was believed does so,
    /// it stays; otherwise it is moved as far as it must. So a slow answer changes nothing.
    fn take(
        &mut self,
        said: Timestamp,
        (asked, answered): (i64, i64),
        own: Timestamp,
    ) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let (least, most) = (said.0 - answered, said.0 - asked.min(answered));
        let base = match self.base {
            Some(base) => base.clamp(least, most),
            None => least + (most - least) / 2,
        };
        let step = self.base.map_or(0, |before| base - before);
        if step.abs() > SKEW_MAX_MICROS {
            remarks.push(Remark::Set(step));
        }
        if step < -SKEW_MAX_MICROS {
            self.last = i64::MIN;
        }
        self.base = Some(base);
        let skew = own.0 - (base + answered);
        if skew.abs() > SKEW_MAX_MICROS && (skew - self.told).abs() > SKEW_MAX_MICROS {
            self.told = skew;
            remarks.push(Remark::Skewed(skew));
        } else if skew.abs() < SKEW_MAX_MICROS / 2 && self.told != 0 {
            self.told = 0;
            remarks.push(Remark::Agrees);
        }
        remarks
    }
}

fn tell(remark: Remark) {
    let secs = |micros: i64| micros as f64 / 1e6;
    match remark {
        Remark::Skewed(by) => tracing::error!(
            ahead_secs = secs(by),
            "this machine's clock is not the database's, by which all nodes go: set it right"
        ),
        Remark::Agrees => tracing::info!("this machine's clock is the database's again"),
        Remark::Set(by) => tracing::error!(
            by_secs = secs(by),
            "the database's clock was set, or this machine stood still: the time has leapt"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::ManualClock;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;
    /// The database's time when the timer was at zero.
    const BASE: i64 = 1_790_000_000 * SECOND;

    /// Heard after `at` by a timer, in an answer that took `took`; the own clock is ahead by
    /// `skew`.
    fn hear(known: &mut Known, (at, took): (i64, i64), (set, skew): (i64, i64)) -> Vec<Remark> {
        let said = Timestamp(BASE + at + set);
        let own = Timestamp(BASE + at + skew);
        known.take(said, (at - took / 2, at + took / 2), own)
    }

    #[test]
    fn before_the_database_is_heard_the_own_clock_counts_and_then_no_more() {
        let own = Arc::new(ManualClock::default());
        own.set(Timestamp(7 * HOUR));
        let clock = DatabaseClock::new(own.clone());
        assert_eq!(clock.now(), Timestamp(7 * HOUR));
        let asked = Instant::now();
        let said = Timestamp(BASE);
        let now = clock.hear(Heard { said, asked, answered: Instant::now() });
        assert!((now.0 - BASE).abs() < SECOND, "{now:?}");
        own.set(Timestamp(9 * HOUR));
        std::thread::sleep(Duration::from_millis(20));
        let later = clock.now();
        assert!((15_000..SECOND).contains(&(later.0 - now.0)), "{now:?} {later:?}");
    }

    #[test]
    fn a_slow_answer_moves_nothing_and_a_quick_one_what_it_must() {
        let mut known = Known::default();
        assert_eq!(hear(&mut known, (SECOND, 2_000), (0, 0)), []);
        let (base, _) = (known.base, assert_eq!(known.base, Some(BASE)));
        // said at the end of a long wait
        known.take(Timestamp(BASE + 5 * SECOND), (2 * SECOND, 5 * SECOND), Timestamp(BASE));
        assert_eq!(known.base, base);
        hear(&mut known, (6 * SECOND, 1_000), (3_000, 0));
        assert_eq!(known.base, Some(BASE + 2_500));
    }

    #[test]
    fn time_does_not_go_back_unless_the_databases_was_set_back() {
        let mut known = Known::default();
        hear(&mut known, (0, 0), (0, 0));
        let first = known.at(BASE + 10 * SECOND);
        assert_eq!(hear(&mut known, (10 * SECOND, 0), (-SKEW_MAX_MICROS, 0)), []);
        assert_eq!(known.at(BASE + 5 * SECOND), first, "it stands still");
        assert_eq!(known.at(first.0 + 1), Timestamp(first.0 + 1));
        let set = -2 * SKEW_MAX_MICROS - 1;
        let remarks = hear(&mut known, (11 * SECOND, 0), (set, 0));
        assert_eq!(remarks[0], Remark::Set(-SKEW_MAX_MICROS - 1));
        assert_eq!(known.at(BASE + 11 * SECOND + set).0, BASE + 11 * SECOND + set, "it follows");
        let remarks = hear(&mut known, (12 * SECOND, 0), (HOUR, 0));
        assert_eq!(remarks[0], Remark::Set(HOUR - set));
        assert_eq!(known.at(BASE + 12 * SECOND + HOUR).0, BASE + 12 * SECOND + HOUR);
    }

    #[test]
    fn a_clock_that_differs_is_told_of_once_until_it_differs_otherwise() {
        let mut known = Known::default();
        assert_eq!(hear(&mut known, (0, 0), (0, SKEW_MAX_MICROS)), [], "as far as it may");
        let over = SKEW_MAX_MICROS + 1;
        assert_eq!(hear(&mut known, (1, 0), (0, over)), [Remark::Skewed(over)]);
        assert_eq!(hear(&mut known, (2, 0), (0, over)), []);
        assert_eq!(hear(&mut known, (3, 0), (0, over + SECOND)), []);
        assert_eq!(hear(&mut known, (4, 0), (0, HOUR)), [Remark::Skewed(HOUR)]);
        assert_eq!(hear(&mut known, (5, 0), (0, -HOUR)), [Remark::Skewed(-HOUR)]);
        assert_eq!(hear(&mut known, (6, 0), (0, 4 * SECOND)), [], "not yet");
        assert_eq!(hear(&mut known, (7, 0), (0, SECOND)), [Remark::Agrees]);
        assert_eq!(hear(&mut known, (8, 0), (0, SECOND)), []);
    }
}
