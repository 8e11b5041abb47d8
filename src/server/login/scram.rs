//! Logging in by SCRAM: the keys that an exchange needs, and whether its proof counts. Costs no
//! more than a few hashes, so it is done where it is asked; the throttle is that of passwords.

use std::net::IpAddr;
use std::time::Duration;

use super::{LOGIN_BYTES_MAX, LoginError, Shared, Verdict, Verified, log_failure};
use crate::directory::Directory;
use crate::directory::scram::ScramKeys;
use crate::mail::id::Login;
use crate::sasl::scram::{Keys, Proof};
use crate::server::tls;

/// Random bytes of our part of a nonce.
const NONCE_BYTES: usize = 18;

impl Shared {
    /// The keys of a login's password. Who has none (an unknown user, or one whose password is
    /// stored otherwise) gets some that nothing fits, always the same, in the manner of a user who
    /// has: so that nobody learns who there is. RFC 5802 §9
    pub(super) async fn scram_keys(&self, peer: IpAddr, login: &str) -> Result<Keys, LoginError> {
        let directory = self.directory.borrow().clone();
        let login = checked(login, &directory)?;
        if self.guard.standing(peer, &login).await.verdict == Verdict::TryLater {
            return Err(LoginError::TryLater);
        }
        let known = directory.users.get(&login).and_then(|user| user.password.scram_keys());
        let keys = known.unwrap_or_else(|| self.invented(&login, &directory));
        let ScramKeys { iterations, salt, stored_key, server_key } = keys;
        Ok(Keys { iterations, salt, stored_key, server_key, nonce: nonce()? })
    }

    /// Whose salt and iterations are imitated depends on the login alone, as long as the directory
    /// stays.
    fn invented(&self, login: &Login, directory: &Directory) -> ScramKeys {
        let part = |what: &[u8]| self.salts.fingerprint(&[what, login.as_str().as_bytes()]);
        let others: Vec<ScramKeys> =
            directory.users.values().filter_map(|user| user.password.scram_keys()).collect();
        let model = others.get(part(b"model").below(others.len()));
        let bytes = model.map_or(16, |keys| keys.salt.len());
        ScramKeys {
            iterations: model.map_or(4096, |keys| keys.iterations),
            salt: [b"salt", b"more"].iter().flat_map(|w| part(*w).bytes()).take(bytes).collect(),
            stored_key: part(b"stored key").bytes(),
            server_key: part(b"server key").bytes(),
        }
    }

    /// Whether a proof counts now: the directory may have changed since the keys were told.
    pub(super) async fn proven(&self, peer: IpAddr, login: &str, proof: &Proof) -> Verified {
        let directory = self.directory.borrow().clone();
        let login = match checked(login, &directory) {
            Ok(login) => login,
            Err(error) => return (Err(error), Duration::ZERO),
        };
        let _turn = self.guard.turn().await;
        let standing = self.guard.standing(peer, &login).await;
        if standing.verdict == Verdict::TryLater {
            tracing::warn!(%peer, "login refused after too many failures");
            return (Err(LoginError::TryLater), Duration::ZERO);
        }
        let known = directory.users.get(&login);
        let keys = known.and_then(|user| user.password.scram_keys());
        let fits = match proof {
            Proof::Right(stored_key) => keys.is_some_and(|keys| keys.stored_key == *stored_key),
            Proof::Wrong => false,
        };
        if fits {
            self.guard.succeeded((peer, &login), standing).await;
            return (Ok(login), Duration::ZERO);
        }
        let delay = self.guard.failed(peer, &login).await;
        log_failure(peer, known.map(|_| &login));
        (Err(LoginError::Wrong), delay)
    }
}

fn checked(login: &str, directory: &Directory) -> Result<Login, LoginError> {
    match login.len() {
        0..=LOGIN_BYTES_MAX => Ok(directory.login_named(login)),
        _ => Err(LoginError::Wrong),
    }
}

/// In hexadecimal digits, which any nonce may have.
fn nonce() -> Result<String, LoginError> {
    let mut bytes = [0; NONCE_BYTES];
    match tls::provider().secure_random.fill(&mut bytes) {
        Ok(()) => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Err(_) => {
            tracing::error!("the system gives no random numbers");
            Err(LoginError::TryLater)
        }
    }
}
