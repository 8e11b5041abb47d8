//! A server that takes requests and does not answer: it is asked something small by one at a time,
//! and everybody else is told at once, until it has answered again. How long an answer may take
//! depends on how many bytes are on their way: a thin line is not taken for a silent server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::Error;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// How long an answer may take, beside the time that bytes are on their way.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(8);
/// How many bytes travel in a second on the slowest line that is waited for.
pub(super) const BYTES_A_SECOND_MIN: u64 = 32 * 1024;
/// What takes more time than that says nothing of the server, if it carries more bytes: the line
/// may be thin, or another's.
pub(super) const SMALL_BYTES_MAX: u64 = 256 * 1024;
/// How long nobody asks a server that has not answered.
pub(super) const REST: Duration = Duration::from_secs(1);
/// How long others wait for what the one who asks finds out.
const TRIAL_WAIT: Duration = Duration::from_millis(100);

/// What is known of a server.
#[derive(Clone, Copy, Default)]
struct Heard {
    /// While there are no answers: from when on it may be asked whether there are some again.
    ask_again: Option<Instant>,
    /// When the last answer came.
    answer: Option<Instant>,
}

/// Of one bucket.
pub(super) struct Patience {
    heard: Mutex<Heard>,
    /// Held by who finds out whether there are still no answers.
    trial: Semaphore,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { heard: Mutex::default(), trial: Semaphore::new(1) }
    }

    /// The answer to a request that takes `bytes` there or back. Where the last ones had none, the
    /// `probe` is asked first: something that takes next to none.
    pub(super) async fn answer<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, Error>>,
        probe: impl Future<Output = Result<(), Error>>,
    ) -> Result<T, Error> {
        self.admitted(probe).await?;
        self.waited_for(bytes, request).await
    }

    /// Comes back once there is reason to think that there will be an answer.
    async fn admitted(&self, probe: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        if !self.is_silent()? {
            return Ok(());
        }
        let Ok(Ok(_trial)) = timeout(TRIAL_WAIT, self.trial.acquire()).await else {
            return Err(no_answer());
        };
        // somebody else may have found out meanwhile
        if self.is_silent()? {
            let asked = timeout(ANSWER_MAX, probe).await;
            self.note(asked.is_ok(), (0, Instant::now()));
            // whatever was answered
            let _ = asked.map_err(|_| no_answer())?;
        }
        Ok(())
    }

    /// Whether it has to be asked first; an error while it is left alone.
    fn is_silent(&self) -> Result<bool, Error> {
        match self.heard().ask_again {
            None => Ok(false),
            Some(then) if Instant::now() < then => Err(no_answer()),
            Some(_) => Ok(true),
        }
    }

    async fn waited_for<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let answer = timeout(longest(bytes), request).await;
        self.note(answer.is_ok(), (bytes, began));
        answer.unwrap_or_else(|_| Err(no_answer()))
    }

    fn note(&self, is_answered: bool, (bytes, began): (u64, Instant)) {
        let (mut heard, now) = (self.heard(), Instant::now());
        if is_answered {
            *heard = Heard { ask_again: None, answer: Some(now) };
        } else if heard.answer.is_none_or(|answer| answer < began) {
            // nobody has had an answer since
            let rest = if bytes > SMALL_BYTES_MAX { Duration::ZERO } else { REST };
            heard.ask_again = Some(now + rest);
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a request may take that carries so many bytes.
pub(super) fn longest(bytes: u64) -> Duration {
    ANSWER_MAX + Duration::from_secs(bytes / BYTES_A_SECOND_MIN)
}

pub(super) fn no_answer() -> Error {
    Error::Generic { store: "S3", source: "no answer".into() }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use tokio::time::sleep;

    use super::*;

    /// The largest request: a part of an upload.
    const LARGE: u64 = super::super::upload::PART_BYTES;

    /// A server on a clock that nobody waits for.
    #[derive(Clone)]
    struct Server {
        patience: Arc<Patience>,
        is_stalled: Arc<AtomicBool>,
        probes: Arc<AtomicU64>,
    }

    impl Server {
        fn new() -> Server {
            let patience = Arc::new(Patience::new());
            Server { patience, is_stalled: Arc::default(), probes: Arc::default() }
        }

        fn stall(&self, is_stalled: bool) {
            self.is_stalled.store(is_stalled, Ordering::SeqCst);
        }

        /// A request, answered after the time that its bytes are on their way.
        async fn ask(&self, bytes: u64, way: Duration) -> Result<(), Error> {
            let answered = async |way: Duration| {
                sleep(way).await;
                match self.is_stalled.load(Ordering::SeqCst) {
                    true => pending().await,
                    false => Ok(()),
                }
            };
            let probe = async {
                self.probes.fetch_add(1, Ordering::SeqCst);
                answered(Duration::from_millis(20)).await
            };
            self.patience.answer(bytes, answered(way), probe).await
        }

        async fn small(&self) -> Result<(), Error> {
            self.ask(100, Duration::from_millis(20)).await
        }

        fn probes(&self) -> u64 {
            self.probes.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_waited_for_by_how_many_bytes_it_takes() {
        let second = Duration::from_secs(1);
        for (bytes, limit) in [(0, 8), (BYTES_A_SECOND_MIN - 1, 8), (LARGE, 168)] {
            let limit = limit * second;
            let server = Server::new();
            assert!(server.ask(bytes, limit - second / 1000).await.is_ok(), "{bytes}");
            assert!(server.ask(bytes, limit + second / 1000).await.is_err(), "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn parts_of_a_large_message_on_a_thin_line_go_through_and_hold_nobody_up() {
        let server = Server::new();
        let thin = Duration::from_secs(LARGE / (40 * 1024));
        let uploading = server.clone();
        let upload = tokio::spawn(async move {
            for _ in 0..5 {
                uploading.ask(LARGE, thin).await?;
            }
            Ok::<(), Error>(())
        });
        while !upload.is_finished() {
            assert!(server.small().await.is_ok());
            sleep(Duration::from_secs(1)).await;
        }
        assert!(upload.await.expect("no panic").is_ok() && server.probes() == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_that_takes_too_long_has_the_next_one_ask_and_refuses_nobody() {
        let server = Server::new();
        assert!(server.ask(LARGE, 2 * longest(LARGE)).await.is_err());
        let all = (0..5).map(|_| {
            tokio::spawn({
                let server = server.clone();
                async move { server.small().await }
            })
        });
        for one in all.collect::<Vec<_>>() {
            assert!(one.await.expect("no panic").is_ok());
        }
        assert_eq!(server.probes(), 1, "one for all");
    }

    #[tokio::test(start_paused = true)]
    async fn while_there_is_no_answer_one_asks_something_small_and_others_are_told() {
        let server = Server::new();
        server.stall(true);
        let began = Instant::now();
        assert!(server.small().await.is_err());
        assert_eq!(began.elapsed(), ANSWER_MAX);
        assert!(server.small().await.is_err() && server.ask(LARGE, REST).await.is_err());
        assert_eq!((began.elapsed(), server.probes()), (ANSWER_MAX, 0), "at once");
        sleep(REST).await;
        let asking = tokio::spawn({
            let server = server.clone();
            async move { server.ask(LARGE, REST).await }
        });
        sleep(Duration::from_millis(1)).await;
        let began = Instant::now();
        assert!(server.small().await.is_err());
        assert_eq!((began.elapsed(), server.probes()), (TRIAL_WAIT, 1));
        assert!(asking.await.expect("no panic").is_err());
        assert!(began.elapsed() <= ANSWER_MAX, "what is large is not sent");
        assert!(server.small().await.is_err());
        server.stall(false);
        sleep(REST).await;
        assert!(server.small().await.is_ok());
        assert_eq!(server.probes(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_large_is_no_trial_that_others_wait_for() {
        let server = Server::new();
        server.stall(true);
        assert!(server.small().await.is_err());
        server.stall(false);
        sleep(REST).await;
        let large = tokio::spawn({
            let server = server.clone();
            async move { server.ask(LARGE, longest(LARGE) / 2).await }
        });
        sleep(Duration::from_millis(1)).await;
        for _ in 0..20 {
            assert!(server.small().await.is_ok());
        }
        assert!(!large.is_finished() && large.await.expect("no panic").is_ok());
    }

    /// Who asks and goes away leaves it to the next.
    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_broken_off_holds_nobody_up() {
        let server = Server::new();
        server.stall(true);
        assert!(server.small().await.is_err());
        sleep(REST).await;
        assert!(timeout(REST, server.small()).await.is_err(), "broken off");
        server.stall(false);
        assert!(server.small().await.is_ok());
        let (request, probe) = (ready(Ok(())), pending());
        assert!(server.patience.answer(0, request, probe).await.is_ok(), "no need to ask");
    }
}
