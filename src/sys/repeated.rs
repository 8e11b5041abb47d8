//! Lines of the log that somebody can bring about as often as they like: each is written once in a
//! while, and says how many were not. Knows no line.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long the same is not said again.
pub const WHILE: Duration = Duration::from_secs(60);
/// How many different lines of a kind are written within that time.
pub const LINES_MAX: usize = 64;

/// A kind of line. There is one for each place that writes some.
pub struct Repeated(Mutex<Said>);

/// What has been said lately.
struct Said {
    since: Option<Instant>,
    lines: Vec<u64>,
    unsaid: u64,
}

impl Repeated {
    /// Nothing has been said.
    pub const fn new() -> Repeated {
        Repeated(Mutex::new(Said { since: None, lines: Vec::new(), unsaid: 0 }))
    }

    /// Whether the line that tells of `what` is to be written now: how many of this kind were not,
    /// since one was.
    pub fn due(&self, what: impl Hash) -> Option<u64> {
        self.due_at(what, Instant::now())
    }

    fn due_at(&self, what: impl Hash, now: Instant) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let line = hasher.finish();
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.since.is_none_or(|since| now.saturating_duration_since(since) >= WHILE) {
            said.since = Some(now);
            said.lines.clear();
        }
        if said.lines.contains(&line) || said.lines.len() == LINES_MAX {
            said.unsaid += 1;
            return None;
        }
        said.lines.push(line);
        Some(std::mem::take(&mut said.unsaid))
    }
}

impl Default for Repeated {
    fn default() -> Repeated {
        Repeated::new()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata};

    use super::*;

    /// Counts the warnings and errors that are logged on this thread.
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>);

    impl tracing::Subscriber for Counted {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    /// How many warnings and errors are logged meanwhile.
    pub(crate) fn logged_by(work: impl FnOnce()) -> usize {
        let counted = Counted::default();
        tracing::subscriber::with_default(counted.clone(), work);
        counted.0.load(Ordering::SeqCst)
    }

    #[test]
    fn the_same_is_said_once_in_a_while_and_what_was_not_said_is_counted() {
        let (lines, start) = (Repeated::new(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(lines.due_at("one", start), Some(0));
        assert_eq!(lines.due_at("one", start + second), None);
        assert_eq!(lines.due_at("one", start + WHILE - second), None);
        assert_eq!(lines.due_at("two", start + WHILE - second), Some(2), "another one is news");
        assert_eq!(lines.due_at("one", start + WHILE), Some(0));
        assert_eq!(lines.due_at("one", start + WHILE), None);
        assert_eq!(lines.due_at("one", start), None, "a clock that goes back says nothing");
    }

    #[test]
    fn there_are_so_many_different_ones_in_a_while() {
        let (lines, start) = (Repeated::new(), Instant::now());
        for number in 0..LINES_MAX {
            assert_eq!(lines.due_at(number, start), Some(0));
        }
        assert_eq!(lines.due_at(LINES_MAX, start), None);
        assert_eq!(lines.due_at(LINES_MAX, start + WHILE), Some(1));
    }
}
