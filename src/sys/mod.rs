//! Layer 0: the world as a parameter, so that tests can stop the clock and repeat what was random.

pub mod repeated;

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::mail::id::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present wall-clock time.
    fn now(&self) -> Timestamp;

    /// Somebody has said what time it is for several machines. A clock that agrees with others
    /// takes it over; the others go on. Answers what time it was then.
    fn hear(&self, _heard: Heard) -> Timestamp {
        self.now()
    }
}

/// What somebody else has said of the time.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Their time, at some moment between the next two.
    pub said: Timestamp,
    /// When they were asked.
    pub asked: Instant,
    /// When they had answered.
    pub answered: Instant,
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that a test sets.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Sets the time.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
