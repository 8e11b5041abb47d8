//! Makes the segments, on a thread of its own that rests at least as long as it works. Nobody waits
//! for it, it syncs nothing, and what it has not done yet is only slower to search.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::work::{Go, Work};
use crate::store::StoreError;

/// So many new messages are indexed at once; fewer are read by each search.
pub(in crate::store) const BACKLOG_MESSAGES: u64 = 1024;
/// The same in bytes of compressed text.
pub(super) const BACKLOG_BYTES: u64 = 2 << 20;
/// How often it is looked for messages that are gone.
const CHECK_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How soon what has failed is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// How long it rests after work, as a multiple of that, while the writer has nothing to do.
const REST: u32 = 1;
/// The same while the writer works.
const REST_UNDER_LOAD: u32 = 4;

/// The thread, as the writer sees it. Dropping this ends it.
pub(in crate::store) struct Indexer {
    wake: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    messages: u64,
    bytes: u64,
}

impl Indexer {
    /// Starts the thread.
    pub(in crate::store) fn start(work: Work) -> Result<Indexer, StoreError> {
        let (wake, woken) = mpsc::channel();
        let commits = Arc::<AtomicU64>::default();
        let pace = Pace { woken, commits: commits.clone(), seen: 0, since: Instant::now() };
        let thread = std::thread::Builder::new().name("text-index".into());
        let thread = thread.spawn(move || run(work, pace));
        let thread = thread.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let (wake, thread) = (Some(wake), Some(thread));
        Ok(Indexer { wake, thread, commits, messages: 0, bytes: 0 })
    }

    /// Notes what a commit brought, and wakes the thread when there is enough to do.
    pub(in crate::store) fn committed(&mut self, messages: usize, text_bytes: usize) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.messages += messages as u64;
        self.bytes += text_bytes as u64;
        if self.messages >= BACKLOG_MESSAGES || self.bytes >= BACKLOG_BYTES {
            self.wake();
        }
    }

    /// Wakes the thread.
    pub(in crate::store) fn wake(&mut self) {
        (self.messages, self.bytes) = (0, 0);
        // It ends before this only if it panicked; then searches read texts.
        let _ = self.wake.as_ref().map(|wake| wake.send(()));
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.wake = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Pace {
    woken: mpsc::Receiver<()>,
    commits: Arc<AtomicU64>,
    seen: u64,
    since: Instant,
}

impl Pace {
    fn rest(&mut self) -> Go {
        let commits = self.commits.load(Ordering::Relaxed);
        let times = if commits == self.seen { REST } else { REST_UNDER_LOAD };
        let rested = self.woken.recv_timeout(self.since.elapsed() * times);
        self.seen = self.commits.load(Ordering::Relaxed);
        self.since = Instant::now();
        match rested {
            Ok(()) | Err(mpsc::RecvTimeoutError::Timeout) => Go::On,
            Err(mpsc::RecvTimeoutError::Disconnected) => Go::Home,
        }
    }
}

fn run(mut work: Work, mut pace: Pace) {
    // What fails, above all for want of room, is tried again after a while, or when there is more
    // to do.
    let _ = work.take_up(&mut || pace.rest());
    let mut checked = Instant::now();
    loop {
        pace.since = Instant::now();
        let done = loop {
            match work.step(&mut || pace.rest()) {
                Ok(true) => {}
                done => break done,
            }
        };
        let left = CHECK_PERIOD.saturating_sub(checked.elapsed());
        let left = if done.is_err() { left.min(RETRY) } else { left };
        if let Err(mpsc::RecvTimeoutError::Disconnected) = pace.woken.recv_timeout(left) {
            return;
        }
        if checked.elapsed() >= CHECK_PERIOD {
            checked = Instant::now();
            let _ = work.check(&mut || pace.rest());
        }
    }
}
