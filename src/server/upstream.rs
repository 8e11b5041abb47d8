//! Whether the upstream server of a split domain takes mail for an address: asked when a recipient
//! is named, so that mail which the upstream would refuse is refused here, and nobody innocent gets
//! a report. Remembers answers for a while; knows no session.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::queue::{Transport, entropy};
use crate::mail::address::Address;
use crate::outbound::routes::{Route, Routes};
use crate::outbound::verified::{Answer, Verified};
use crate::smtp::client::Verification;
use crate::sys::Clock;

/// Questions asked at a time; who comes later waits.
const ASKED_MAX: usize = 20;

/// All upstream servers.
pub struct Upstreams {
    /// None: nothing can be asked.
    transport: Option<Arc<dyn Transport>>,
    routes: Routes,
    clock: Arc<dyn Clock>,
    answers: Mutex<Verified>,
    asking: Semaphore,
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
        let (answers, asking) = (Mutex::default(), Semaphore::new(ASKED_MAX));
        Upstreams { transport: Some(transport), routes, clock, answers, asking }
    }

    /// Without a way to ask: nothing will ever be known.
    pub fn out_of_reach(clock: Arc<dyn Clock>) -> Upstreams {
        let (answers, asking) = (Mutex::default(), Semaphore::new(ASKED_MAX));
        Upstreams { transport: None, routes: Routes::default(), clock, answers, asking }
    }

    /// Whether `server` (`smtp://host:port`) takes mail from `reverse_path` for `address`.
    pub async fn takes(
        &self,
        server: &str,
        reverse_path: Option<&Address>,
        address: &Address,
    ) -> Takes {
        if let Some(known) = self.known(server, address) {
            return known;
        }
        let Ok(_place) = self.asking.acquire().await else { return Takes::Unknown };
        // Somebody else may have asked while we waited.
        if let Some(known) = self.known(server, address) {
            return known;
        }
        let answer = match self.ask(server, reverse_path, address).await {
            Verification::Accepted(_) => Answer::Accepted,
            Verification::Refused(told) => Answer::Refused(told.text),
            Verification::Unknown(told) => {
                tracing::warn!(by = told.by, status = told.status, "upstream cannot be asked");
                return Takes::Unknown;
            }
        };
        let now = self.clock.now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.remember(server, address, (answer.clone(), now));
        takes(answer)
    }

    fn known(&self, server: &str, address: &Address) -> Option<Takes> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.answer(server, address, self.clock.now()).map(takes)
    }

    async fn ask(
        &self,
        server: &str,
        reverse_path: Option<&Address>,
        address: &Address,
    ) -> Verification {
        let route = self.routes.to_upstream(server, address.domain());
        let nobody = || Verification::Unknown(Route::told("4.4.1", "there is no server to ask"));
        let Some(transport) = &self.transport else { return nobody() };
        let hops = match transport.hops(&route, entropy()).await {
            Ok(hops) => hops,
            Err(fate) => return Verification::Unknown(fate.told()),
        };
        let mut last = nobody();
        for hop in &hops {
            last = transport.verify(hop, reverse_path, address).await;
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
    use crate::mail::id::Timestamp;
    use crate::outbound::verified::{ACCEPTED_SECS, REFUSED_SECS};
    use crate::outbound::{Hop, Login, Security};
    use crate::server::queue::Later;
    use crate::server::relay::Attempt;
    use crate::smtp::client::{Fate, Mail, Told};
    use crate::store::queue::Queued;
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

        fn attempt<'a>(&'a self, _: &'a Hop, _: &'a Mail, _: &'a Queued) -> Later<'a, Attempt> {
            unreachable!("nothing is sent here")
        }

        fn verify<'a>(
            &'a self,
            _: &'a Hop,
            _: Option<&'a Address>,
            to: &'a Address,
        ) -> Later<'a, Verification> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let told = |text: &str| Told { is_reply: true, ..Route::told("x", text) };
            Box::pin(std::future::ready(match to.local() {
                "yes" => Verification::Accepted(told("250 2.1.5 OK")),
                "no" => Verification::Refused(told("550 5.1.1 Nobody")),
                _ => Verification::Unknown(told("451 4.3.0 Later")),
            }))
        }
    }

    const SERVER: &str = "smtp://old.example:25";

    #[tokio::test]
    async fn a_server_is_asked_once_in_a_while() {
        let clock = Arc::new(ManualClock::default());
        let server = Arc::new(Server::default());
        let upstreams = Upstreams::new(server.clone(), Routes::default(), clock.clone());
        let asked = || server.0.load(Ordering::SeqCst);
        let address = |local: &str| Address::new(local, "split.example");
        for (local, expected) in [("yes", Takes::Yes), ("no", Takes::No("550 5.1.1 Nobody".into()))]
        {
            assert_eq!(upstreams.takes(SERVER, None, &address(local)).await, expected);
            assert_eq!(upstreams.takes(SERVER, None, &address(local)).await, expected);
        }
        assert_eq!(asked(), 2);
        for _ in 0..2 {
            let takes = upstreams.takes(SERVER, None, &address("x")).await;
            assert_eq!(takes, Takes::Unknown, "and is asked again");
        }
        assert_eq!(asked(), 4);
        clock.set(Timestamp::from_seconds(REFUSED_SECS));
        upstreams.takes(SERVER, None, &address("no")).await;
        upstreams.takes(SERVER, None, &address("yes")).await;
        assert_eq!(asked(), 5);
        clock.set(Timestamp::from_seconds(ACCEPTED_SECS));
        upstreams.takes(SERVER, None, &address("yes")).await;
        assert_eq!(asked(), 6);
    }
}
