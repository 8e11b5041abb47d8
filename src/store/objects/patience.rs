//! A server that takes requests and does not answer: it is waited for by one request at a time, and
//! everybody else is told at once, until it has answered again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use object_store::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How long an answer may take, beside the time that bytes are on their way.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(8);
/// How many bytes travel in a second on the slowest line.
const BYTES_A_SECOND_MIN: u64 = 256 * 1024;
/// How long nobody asks a server that has not answered.
pub(super) const REST: Duration = Duration::from_secs(1);

/// What is known of a server.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// Since when there are no answers, while there are none.
    silence: Option<Instant>,
    /// When the last one came.
    answer: Option<Instant>,
}

/// Of one bucket.
pub(super) struct Patience {
    heard: Mutex<Heard>,
    /// Held by the request that finds out whether there are still none.
    trial: Semaphore,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { heard: Mutex::default(), trial: Semaphore::new(1) }
    }

    /// The answer to a request that takes `bytes` there or back.
    pub(super) async fn answer<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let _trial = self.admitted()?;
        let began = Instant::now();
        let answer = timeout(longest(bytes), request).await;
        let mut heard = self.heard();
        if answer.is_ok() {
            *heard = Heard { silence: None, answer: Some(Instant::now()) };
        } else if heard.answer.is_none_or(|answer| answer < began) {
            // nobody has had an answer since
            heard.silence = Some(Instant::now());
        }
        drop(heard);
        answer.unwrap_or_else(|_| Err(no_answer()))
    }

    fn admitted(&self) -> Result<Option<SemaphorePermit<'_>>, Error> {
        match self.heard().silence {
            None => Ok(None),
            Some(since) if since.elapsed() < REST => Err(no_answer()),
            Some(_) => self.trial.try_acquire().map(Some).map_err(|_| no_answer()),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn longest(bytes: u64) -> Duration {
    ANSWER_MAX + Duration::from_secs(bytes / BYTES_A_SECOND_MIN)
}

fn no_answer() -> Error {
    Error::Generic { store: "S3", source: "no answer".into() }
}
