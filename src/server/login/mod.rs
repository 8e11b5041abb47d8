//! Login and password, or a token, → user. Verifies passwords off the runtime threads and a few
//! at a time, slows down who guesses, and remembers successes for some minutes. An unknown user
//! costs what a wrong password costs. Knows no protocol.

mod bearer;
pub mod cache;
mod guard;
pub mod oauth;
pub mod salts;
mod scram;
pub mod throttle;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::tls;
use crate::directory::{Directory, PasswordHash, password};
use crate::mail::id::Login;
use crate::sasl::{Answer, Question};
use crate::store::Store;
use crate::sys::Clock;
use cache::{Cache, Fingerprint, Key};
use guard::{Guard, Standing};
use throttle::Verdict;

/// Longest login in bytes that is looked at.
pub const LOGIN_BYTES_MAX: usize = 255;
/// Most attempts that wait for their verification; at 20 ms each this is some ten seconds.
pub const WAITING_MAX: usize = 2_000;

/// Checks who logs in.
pub struct Authenticator {
    shared: Arc<Shared>,
    /// A place to wait in.
    waiting: Arc<Semaphore>,
    /// A place to verify in: as many as there are processors.
    verifying: Arc<Semaphore>,
    /// Who verifies tokens; `None`: they are not taken.
    tokens: ArcSwapOption<oauth::Tokens>,
}

/// Why nobody is logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginError {
    /// Unknown user or wrong password; which, is not told.
    Wrong,
    /// Too many failures, or too many attempts at once.
    TryLater,
}

struct Shared {
    directory: watch::Receiver<Arc<Directory>>,
    clock: Arc<dyn Clock>,
    key: Key,
    /// For what is told of unknown users.
    salts: Key,
    guard: Guard,
    successes: Mutex<Cache>,
    verifications: AtomicU64,
}

/// What is claimed, and what it has to be compared with at this moment.
struct Claim {
    login: Login,
    peer: IpAddr,
    hash: PasswordHash,
    is_known: bool,
    fingerprint: Fingerprint,
}

/// What became of a claim, and how long the answer is to be held back.
type Verified = (Result<Login, LoginError>, Duration);

impl Authenticator {
    /// For the users of `directory` at each moment.
    pub fn new(directory: watch::Receiver<Arc<Directory>>, clock: Arc<dyn Clock>) -> Authenticator {
        let mut key = [0; 32];
        // without it the fingerprints could be computed, though still not read: they stay in memory
        if tls::provider().secure_random.fill(&mut key).is_err() {
            tracing::error!("the system gives no random numbers");
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            directory,
            guard: Guard::new(clock.clone()),
            clock,
            salts: Key(key),
            key: Key(key),
            successes: Mutex::default(),
            verifications: AtomicU64::new(0),
        };
        Authenticator {
            shared: Arc::new(shared),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            verifying: Arc::new(Semaphore::new(processors)),
            tokens: ArcSwapOption::empty(),
        }
    }

    /// Salts of unknown users will be made with this key, which should outlive the process.
    pub fn with_salts(mut self, key: Key) -> Authenticator {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.salts = key;
        }
        self
    }

    /// Failures will be counted in `store`, if several nodes work on it. To be called after
    /// `with_salts`, with the same salts on all of them.
    pub fn with_store(mut self, store: &Arc<dyn Store>) -> Authenticator {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.guard.with_store(store, &shared.salts);
        }
        self
    }

    /// The answer to what an exchange asks; see `login`.
    pub async fn answer(&self, peer: IpAddr, question: &Question) -> Answer {
        let outcome = match question {
            Question::Password { login, password } => self.login(peer, login, &password.0).await,
            Question::Keys { login } => match self.shared.scram_keys(peer, login).await {
                Ok(keys) => return Answer::Keys(Box::new(keys)),
                Err(error) => Err(error),
            },
            Question::Proof { login, proof } => {
                held_back(self.shared.proven(peer, login, proof).await).await
            }
            Question::Token { authzid, token } => {
                return self.bearer(peer, authzid.as_deref(), token).await;
            }
        };
        match outcome {
            Ok(user) => Answer::Accepted(user),
            Err(LoginError::Wrong) => Answer::Wrong,
            Err(LoginError::TryLater) => Answer::TryLater,
        }
    }

    /// The user whose login (or own address) and password these are. The answer to a failure may
    /// take some seconds.
    pub async fn login(
        &self,
        peer: IpAddr,
        login: &str,
        password: &[u8],
    ) -> Result<Login, LoginError> {
        held_back(self.attempt(peer, login, password).await).await
    }

    /// How many passwords have been verified since the start.
    pub fn verifications(&self) -> u64 {
        self.shared.verifications.load(Ordering::Relaxed)
    }

    async fn attempt(&self, peer: IpAddr, login: &str, password: &[u8]) -> Verified {
        if login.len() > LOGIN_BYTES_MAX || password.len() > password::PASSWORD_BYTES_MAX {
            return (Err(LoginError::Wrong), Duration::ZERO);
        }
        let login = self.shared.directory.borrow().login_named(login);
        let claim = self.shared.claim(peer, &login, password);
        if self.shared.has_succeeded(&claim) {
            return (Ok(login), Duration::ZERO);
        }
        let Ok(_place) = self.waiting.try_acquire() else {
            return (Err(LoginError::TryLater), Duration::ZERO);
        };
        let Ok(permit) = self.verifying.clone().acquire_owned().await else {
            return (Err(LoginError::TryLater), Duration::ZERO);
        };
        let (shared, password) = (self.shared.clone(), password.to_vec());
        // not stopped by a client that goes away: its failure counts, and its place stays taken
        let verified =
            tokio::spawn(async move { shared.verify(permit, (peer, login, password)).await });
        verified.await.unwrap_or((Err(LoginError::TryLater), Duration::ZERO))
    }
}

impl Shared {
    /// What a claim is compared with. An unknown login gets the hash of some user, always the same
    /// one, so that it costs what that user's would, whatever mixture of hashes is declared.
    fn claim(&self, peer: IpAddr, login: &Login, password: &[u8]) -> Claim {
        let directory = self.directory.borrow().clone();
        let known = directory.users.get(login);
        let somebody = || {
            let chosen = self.key.fingerprint(&[login.as_str().as_bytes()]);
            directory.users.values().nth(chosen.below(directory.users.len()))
        };
        let hash = match known.or_else(somebody) {
            Some(user) => user.password.clone(),
            None => PasswordHash(password::NOBODY.to_owned()),
        };
        let parts = [login.as_str().as_bytes(), password, hash.0.as_bytes()];
        let fingerprint = self.key.fingerprint(&parts);
        Claim { login: login.clone(), peer, hash, is_known: known.is_some(), fingerprint }
    }

    fn has_succeeded(&self, claim: &Claim) -> bool {
        let now = self.clock.now();
        claim.is_known && locked(&self.successes).holds(claim.fingerprint, now)
    }

    /// Everything after the wait: the directory, the successes and the failures may have changed.
    async fn verify(
        &self,
        _permit: OwnedSemaphorePermit,
        (peer, login, password): (IpAddr, Login, Vec<u8>),
    ) -> Verified {
        let claim = self.claim(peer, &login, &password);
        if self.has_succeeded(&claim) {
            return (Ok(claim.login), Duration::ZERO);
        }
        let standing = self.guard.standing(peer, &login).await;
        if standing.verdict == Verdict::TryLater {
            tracing::warn!(%peer, "login refused after too many failures");
            return (Err(LoginError::TryLater), Duration::ZERO);
        }
        self.verifications.fetch_add(1, Ordering::Relaxed);
        let hash = claim.hash.clone();
        let verified = tokio::task::spawn_blocking(move || password::verify(&password, &hash));
        let Ok(fits) = verified.await else {
            return (Err(LoginError::TryLater), Duration::ZERO);
        };
        if fits && claim.is_known && self.is_still_declared(&claim) {
            self.succeed(claim, standing).await
        } else {
            self.fail(&claim).await
        }
    }

    /// Whether the hash that was compared with is the user's present one.
    fn is_still_declared(&self, claim: &Claim) -> bool {
        let directory = self.directory.borrow();
        directory.users.get(&claim.login).is_some_and(|user| user.password == claim.hash)
    }

    async fn succeed(&self, claim: Claim, standing: Standing) -> Verified {
        locked(&self.successes).insert(claim.fingerprint, self.clock.now());
        self.guard.succeeded((claim.peer, &claim.login), standing).await;
        (Ok(claim.login), Duration::ZERO)
    }

    async fn fail(&self, claim: &Claim) -> Verified {
        let delay = self.guard.failed(claim.peer, &claim.login).await;
        log_failure(claim.peer, claim.is_known.then_some(&claim.login));
        (Err(LoginError::Wrong), delay)
    }
}

/// An unknown login may be a password in the wrong field, so it is not logged.
fn log_failure(peer: IpAddr, known: Option<&Login>) {
    tracing::warn!(%peer, login = known.map(Login::as_str), "login failed");
}

/// The outcome, once it may be told.
async fn held_back((outcome, delay): Verified) -> Result<Login, LoginError> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    outcome
}

/// A panic in another thread leaves counts that are still good.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
