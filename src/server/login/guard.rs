//! Where failures to log in are counted: in this process, or, where several nodes work on one
//! store, there, so that who guesses gets no more tries by asking another node.
//!
//! A node that is cut off from the store counts by itself for that while. So who guesses gets at
//! most the same number of tries once more from each such node, and whose password is right
//! gets in.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::cache::Key;
use super::locked;
use super::throttle::{ADDRESS_FAILURES_MAX, PAIR_FAILURES_MAX, Throttle, Verdict, delay, network};
use crate::mail::id::Login;
use crate::store::{Answer, Store};
use crate::sys::Clock;
use crate::sys::repeated::Repeated;

/// How long the store may take to answer; then it counts as cut off.
const ASKING: Duration = Duration::from_secs(2);
/// Attempts at a time between being let in and being counted, where the store counts.
const TURNS: usize = 4;

/// Counts who fails.
pub(super) struct Guard {
    clock: Arc<dyn Clock>,
    /// All failures; beside a shared store, those that it could not be told of.
    here: Mutex<Throttle>,
    shared: Option<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    /// Of what stands for addresses and users there: a login may be a password in the wrong field.
    key: Key,
    turns: Semaphore,
}

/// Who is let in, or not.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) verdict: Verdict,
    /// Whether the store knows of failures of the user.
    is_known: bool,
}

impl Guard {
    /// Counts here.
    pub(super) fn new(clock: Arc<dyn Clock>) -> Guard {
        Guard { clock, here: Mutex::default(), shared: None }
    }

    /// Counts in the store, if others do, too. All of them need the same key.
    pub(super) fn with_store(&mut self, store: &Arc<dyn Store>, key: &Key) {
        self.shared = store.is_shared().then(|| Shared {
            store: store.clone(),
            key: key.clone(),
            turns: Semaphore::new(TURNS),
        });
    }

    /// A turn to be held from `standing` until the failure is counted, so that many attempts at
    /// once do not get past the limit; none is needed where nothing is waited for in between.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.shared.as_ref()?.turns.acquire().await.ok()
    }

    /// Whether `login` may be tried from `peer`.
    pub(super) async fn standing(&self, peer: IpAddr, login: &Login) -> Standing {
        let verdict = locked(&self.here).may_try(peer, login, self.clock.now());
        let refused = Standing { verdict: Verdict::TryLater, is_known: true };
        let Some(shared) = self.shared.as_ref().filter(|_| verdict == Verdict::Try) else {
            return Standing { verdict, is_known: false };
        };
        let keys = [shared.address(peer), shared.pair(peer, login), shared.user(login)];
        match shared.ask(shared.store.failures(&keys)).await.as_deref() {
            Some([address, ..]) if *address >= ADDRESS_FAILURES_MAX => refused,
            Some([_, pair, _]) if *pair >= PAIR_FAILURES_MAX => refused,
            Some([_, pair, user]) => Standing { verdict, is_known: pair + user > 0 },
            _ => Standing { verdict, is_known: false },
        }
    }

    /// Whether `peer` may try anything, where it is not known yet who it wants to be.
    pub(super) async fn may_address_try(&self, peer: IpAddr) -> Verdict {
        let verdict = locked(&self.here).may_address_try(peer, self.clock.now());
        let Some(shared) = self.shared.as_ref().filter(|_| verdict == Verdict::Try) else {
            return verdict;
        };
        let keys = [shared.address(peer)];
        match shared.ask(shared.store.failures(&keys)).await.as_deref() {
            Some([address]) if *address >= ADDRESS_FAILURES_MAX => Verdict::TryLater,
            _ => verdict,
        }
    }

    /// Counts a failure, and says how long its answer is to be held back.
    pub(super) async fn failed(&self, peer: IpAddr, login: &Login) -> Duration {
        if let Some(shared) = &self.shared {
            let keys = [shared.address(peer), shared.user(login), shared.pair(peer, login)];
            let counts = shared.ask(shared.store.count_failure(&keys)).await;
            if let Some([address, user, _]) = counts.as_deref() {
                return delay(*address.max(user));
            }
        }
        locked(&self.here).failed(peer, login, self.clock.now())
    }

    /// Counts a failure that is nobody's but the address's.
    pub(super) async fn address_failed(&self, peer: IpAddr) -> Duration {
        if let Some(shared) = &self.shared {
            let keys = [shared.address(peer)];
            let counts = shared.ask(shared.store.count_failure(&keys)).await;
            if let Some([address]) = counts.as_deref() {
                return delay(*address);
            }
        }
        locked(&self.here).address_failed(peer, self.clock.now())
    }

    /// Forgets the failures of a user who has logged in, but not the address's.
    pub(super) async fn succeeded(&self, (peer, login): (IpAddr, &Login), standing: Standing) {
        locked(&self.here).succeeded(peer, login);
        if let Some(shared) = self.shared.as_ref().filter(|_| standing.is_known) {
            let keys = [shared.user(login), shared.pair(peer, login)];
            shared.ask(shared.store.forget_failures(&keys)).await;
        }
    }
}

impl Shared {
    /// `None`: the store cannot be asked.
    async fn ask<T>(&self, answer: Answer<'_, T>) -> Option<T> {
        match timeout(ASKING, answer).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                log_alone(&error);
                None
            }
            Err(_) => {
                log_alone(&"the store does not answer in time");
                None
            }
        }
    }

    fn address(&self, peer: IpAddr) -> String {
        self.name(&["address", &network(peer).to_string()])
    }

    fn user(&self, login: &Login) -> String {
        self.name(&["user", login.as_str()])
    }

    fn pair(&self, peer: IpAddr, login: &Login) -> String {
        self.name(&["pair", &network(peer).to_string(), login.as_str()])
    }

    fn name(&self, parts: &[&str]) -> String {
        let parts: Vec<&[u8]> =
            [&b"failure"[..]].into_iter().chain(parts.iter().map(|p| p.as_bytes())).collect();
        self.key.fingerprint(&parts).bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Everybody who logs in meanwhile would say so.
fn log_alone(error: &dyn Display) {
    static ALONE: Repeated = Repeated::new();
    if let Some(unsaid) = ALONE.due(error.to_string()) {
        tracing::warn!(%error, unsaid, "failures to log in are counted by this node alone");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::server::queue::fake::{FullableStore, Shelf};
    use crate::sys::ManualClock;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn nodes() -> [(Guard, Arc<FullableStore>); 2] {
        let clock = Arc::new(ManualClock::default());
        let store = FullableStore::new(clock.clone());
        let shelf = Arc::new(Shelf::default());
        [1, 2].map(|number| {
            let store = store.node(&shelf, number);
            let mut guard = Guard::new(clock.clone());
            let shared: Arc<dyn Store> = store.clone();
            guard.with_store(&shared, &Key([7; 32]));
            (guard, store)
        })
    }

    fn anna() -> Login {
        Login::new("anna")
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_whichever_node_they_are_made_at() {
        let [(one, _), (two, _)] = nodes();
        let mut delays = Vec::new();
        for n in 0..PAIR_FAILURES_MAX {
            let guard = if n % 2 == 0 { &one } else { &two };
            assert_eq!(guard.standing(HERE, &anna()).await.verdict, Verdict::Try);
            delays.push(guard.failed(HERE, &anna()).await.as_secs());
        }
        assert_eq!(delays[..5], [0, 0, 1, 2, 4]);
        for guard in [&one, &two] {
            assert_eq!(guard.standing(HERE, &anna()).await.verdict, Verdict::TryLater);
            assert_eq!(guard.standing(THERE, &anna()).await.verdict, Verdict::Try);
        }
        let standing = two.standing(THERE, &anna()).await;
        two.succeeded((THERE, &anna()), standing).await;
        assert_eq!(one.failed(THERE, &anna()).await, Duration::ZERO, "the user's are forgotten");
        for n in PAIR_FAILURES_MAX..ADDRESS_FAILURES_MAX {
            let somebody = Login::new(&format!("user{n}"));
            assert_eq!(one.standing(HERE, &somebody).await.verdict, Verdict::Try);
            two.failed(HERE, &somebody).await;
        }
        assert_eq!(one.may_address_try(HERE).await, Verdict::TryLater);
        assert_eq!(one.standing(HERE, &Login::new("ben")).await.verdict, Verdict::TryLater);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(one.may_address_try(HERE).await, Verdict::Try);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_cut_off_counts_by_itself_and_lets_the_right_in() {
        let [(one, store), (two, _)] = nodes();
        store.cut_off(true);
        for _ in 0..PAIR_FAILURES_MAX {
            assert_eq!(one.standing(HERE, &anna()).await.verdict, Verdict::Try);
            one.failed(HERE, &anna()).await;
        }
        assert_eq!(one.standing(HERE, &anna()).await.verdict, Verdict::TryLater);
        let standing = one.standing(THERE, &anna()).await;
        assert_eq!(standing.verdict, Verdict::Try);
        one.succeeded((THERE, &anna()), standing).await;
        assert_eq!(two.standing(HERE, &anna()).await.verdict, Verdict::Try);
        store.cut_off(false);
        assert_eq!(one.standing(HERE, &anna()).await.verdict, Verdict::TryLater, "still");
    }
}
