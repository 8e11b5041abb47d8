//! Whether the upstream server of a split domain takes mail for an address: asked when a recipient
//! is named, so that mail which the upstream would refuse is refused here, and nobody innocent gets
//! a report. Remembers answers for a while; knows no session.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::queue::{Transport, entropy};
use crate::outbound::routes::{Route, Routes};
use crate::outbound::verified::{Answer, Asked, Verified};
use crate::smtp::client::Verification;
use crate::sys::Clock;
use crate::sys::repeated::Repeated;

/// Questions asked at a time; who comes later waits.
const ASKED_MAX: usize = 20;
/// How long an answer is waited for, the wait for a turn included: who sends to us waits five
/// minutes at the least. RFC 5321 §4.5.3.2.3
const ASK_TIMEOUT: Duration = Duration::from_secs(60);

/// All upstream servers.
pub struct Upstreams {
    way: ArcSwap<Way>,
    clock: Arc<dyn Clock>,
    answers: Mutex<Verified>,
    asking: Semaphore,
}

/// How they are asked.
struct Way {
    /// None: nothing can be asked.
    transport: Option<Arc<dyn Transport>>,
    routes: Routes,
}

/// What an upstream server says of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Takes {
    /// It takes mail for it.
    Yes,
    /// It does not; its own words.
    No(String),
    /// It could not be asked.
    Unknown,
}

impl Upstreams {
    /// Nothing is known yet.
    pub fn new(transport: Arc<dyn Transport>, routes: Routes, clock: Arc<dyn Clock>) -> Upstreams {
        Upstreams::by(Way { transport: Some(transport), routes }, clock)
    }

    /// Without a way to ask: nothing will ever be known.
    pub fn out_of_reach(clock: Arc<dyn Clock>) -> Upstreams {
        Upstreams::by(Way { transport: None, routes: Routes::default() }, clock)
    }

    fn by(way: Way, clock: Arc<dyn Clock>) -> Upstreams {
        let (answers, asking) = (Mutex::default(), Semaphore::new(ASKED_MAX));
        Upstreams { way: ArcSwap::from_pointee(way), clock, answers, asking }
    }

    /// From now on they are asked this way; what they said stays known.
    pub fn turn(&self, transport: Arc<dyn Transport>, routes: Routes) {
        self.way.store(Arc::new(Way { transport: Some(transport), routes }));
    }

    /// Whether the server takes mail for the recipient, as far as it says so in time.
    pub async fn takes(&self, asked: &Asked<'_>) -> Takes {
        match timeout(ASK_TIMEOUT, self.takes_at_last(asked)).await {
            Ok(takes) => takes,
            Err(_) => {
                static LATE: Repeated = Repeated::new();
                if let Some(unsaid) = LATE.due(asked.server) {
                    tracing::warn!(
                        server = asked.server,
                        unsaid,
                        "upstream does not answer in time"
                    );
                }
                Takes::Unknown
            }
        }
    }

    async fn takes_at_last(&self, asked: &Asked<'_>) -> Takes {
        if let Some(known) = self.known(asked) {
            return known;
        }
        let Ok(_place) = self.asking.acquire().await else { return Takes::Unknown };
        // Somebody else may have asked while we waited.
        if let Some(known) = self.known(asked) {
            return known;
        }
        let answer = match self.ask(asked).await {
            Verification::Accepted(_) => Answer::Accepted,
            Verification::Refused(told) => Answer::Refused(told.text),
            Verification::Unknown(told) => {
                static MUTE: Repeated = Repeated::new();
                if let Some(unsaid) = MUTE.due((&told.by, &told.status)) {
                    let (by, status) = (told.by, told.status);
                    tracing::warn!(by, status, unsaid, "upstream cannot be asked");
                }
                return Takes::Unknown;
            }
        };
        let now = self.clock.now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.remember(asked, answer.clone(), now);
        takes(answer)
    }

    fn known(&self, asked: &Asked<'_>) -> Option<Takes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.answer(asked, self.clock.now()).map(takes)
    }

    async fn ask(&self, asked: &Asked<'_>) -> Verification {
        let Asked { server, reverse_path, recipient } = *asked;
        let way = self.way.load_full();
        let route = way.routes.to_upstream(server, recipient.domain());
        let nobody = || Verification::Unknown(Route::told("4.4.1", "there is no server to ask"));
        let Some(transport) = &way.transport else { return nobody() };
        let hops = match transport.hops(&route, entropy()).await {
            Ok(hops) => hops,
            Err(fate) => return Verification::Unknown(fate.told()),
        };
        let mut last = nobody();
        for hop in &hops {
            last = transport.verify(hop, reverse_path, recipient).await;
            if !matches!(last, Verification::Unknown(_)) {
                break;
            }
        }
        last
    }
}

fn takes(answer: Answer) -> Takes {
    match answer {
        Answer::Accepted => Takes::Yes,
        Answer::Refused(words) => Takes::No(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Address;
    use crate::mail::id::Timestamp;
    use crate::outbound::verified::{ACCEPTED_SECS, REFUSED_SECS};
    use crate::outbound::{Hop, Login, Security};
    use crate::server::queue::{Errand, Later};
    use crate::server::relay::Attempt;
    use crate::smtp::client::{Fate, Mail, Told};
    use crate::sys::ManualClock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A server that says what the local part wants to hear, and counts how often it is asked.
    #[derive(Default)]
    struct Server(AtomicUsize);

    impl Transport for Server {
        fn hops<'a>(&'a self, _: &'a Route, _: u64) -> Later<'a, Result<Vec<Hop>, Fate>> {
            let (name, addresses) = ("old.example".into(), Vec::new());
            let security = Security::Off;
            let hop = Hop { name, addresses, security, login: Login::None, dane: None };
            Box::pin(std::future::ready(Ok(vec![hop])))
        }

        fn attempt<'a>(&'a self, _: &'a Hop, _: &'a Mail, _: Errand<'a>) -> Later<'a, Attempt> {
            unreachable!("nothing is sent here")
        }

        fn verify<'a>(
            &'a self,
            _: &'a Hop,
            _: Option<&'a Address>,
            to: &'a Address,
        ) -> Later<'a, Verification> {
            self.0.fetch_add(1, Ordering::SeqCst);
            if to.local() == "never" {
                return Box::pin(std::future::pending());
            }
            let told = |text: &str| Told { is_reply: true, ..Route::told("x", text) };
            Box::pin(std::future::ready(match to.local() {
                "yes" => Verification::Accepted(told("250 2.1.5 OK")),
                "no" => Verification::Refused(told("550 5.1.1 Nobody")),
                _ => Verification::Unknown(told("451 4.3.0 Later")),
            }))
        }
    }

    const SERVER: &str = "smtp://old.example:25";

    async fn ask(upstreams: &Upstreams, local: &str) -> Takes {
        let recipient = &Address::new(local, "split.example");
        upstreams.takes(&Asked { server: SERVER, reverse_path: None, recipient }).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_holds_nobody_for_ever() {
        let clock = Arc::new(ManualClock::default());
        let upstreams = Upstreams::new(Arc::new(Server::default()), Routes::default(), clock);
        let upstreams = Arc::new(upstreams);
        let began = tokio::time::Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..=ASKED_MAX {
            let upstreams = upstreams.clone();
            all.spawn(async move { ask(&upstreams, "never").await });
        }
        assert!(all.join_all().await.iter().all(|takes| *takes == Takes::Unknown));
        assert_eq!(began.elapsed(), ASK_TIMEOUT, "those who wait for a turn wait no longer");
        assert_eq!(ask(&upstreams, "yes").await, Takes::Yes);
    }

    #[tokio::test]
    async fn a_server_is_asked_once_in_a_while() {
        let clock = Arc::new(ManualClock::default());
        let server = Arc::new(Server::default());
        let upstreams = Upstreams::new(server.clone(), Routes::default(), clock.clone());
        let asked = || server.0.load(Ordering::SeqCst);
        for (local, expected) in [("yes", Takes::Yes), ("no", Takes::No("550 5.1.1 Nobody".into()))]
        {
            assert_eq!(ask(&upstreams, local).await, expected);
            assert_eq!(ask(&upstreams, local).await, expected);
        }
        assert_eq!(asked(), 2);
        for _ in 0..2 {
            let takes = ask(&upstreams, "x").await;
            assert_eq!(takes, Takes::Unknown, "and is asked again");
        }
        assert_eq!(asked(), 4);
        clock.set(Timestamp::from_seconds(REFUSED_SECS));
        ask(&upstreams, "no").await;
        ask(&upstreams, "yes").await;
        assert_eq!(asked(), 5);
        clock.set(Timestamp::from_seconds(ACCEPTED_SECS));
        ask(&upstreams, "yes").await;
        assert_eq!(asked(), 6);
    }
}
