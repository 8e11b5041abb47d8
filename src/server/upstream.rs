//! Whether the upstream server of a split domain takes mail for an address: asked when a recipient
//! is named, so that mail which the upstream would refuse is refused here, and nobody innocent gets
//! a report. Remembers answers for a while; knows no session.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::queue::{Transport, entropy};
use crate::mail::address::Address;
use crate::outbound::routes::Routes;
use crate::outbound::verified::{Answer, Verified};
use crate::smtp::client::Verification;
use crate::sys::Clock;

/// Questions asked at a time; who comes later waits.
const ASKED_MAX: usize = 20;

/// All upstream servers.
pub struct Upstreams {
    transport: Arc<dyn Transport>,
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
        Upstreams { transport, routes, clock, answers, asking }
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
        let hops = match self.transport.hops(&route, entropy()).await {
            Ok(hops) => hops,
            Err(fate) => return Verification::Unknown(fate.told().clone()),
        };
        let mut last = Verification::Unknown(crate::outbound::routes::Route::told(
            "4.4.1",
            "there is no server to ask",
        ));
        for hop in &hops {
            last = self.transport.verify(hop, reverse_path, address).await;
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
