//! Logging in with a token: a name in the token that is a user's login or own address, in the same
//! directory and with the same throttle as passwords. A token that is not genuine counts against
//! the address that showed it, and against nobody else: whose it would be is only its own word.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::oauth::{Tokens, Verdict as Judged};
use super::{Authenticator, LOGIN_BYTES_MAX, Shared, Verdict, log_failure};
use crate::mail::id::Login;
use crate::sasl::Answer;
use crate::sasl::bearer::BearerToken;

impl Authenticator {
    /// Tokens will be taken, and these verify them.
    pub fn with_tokens(self, tokens: Option<Tokens>) -> Authenticator {
        self.take_tokens(tokens);
        self
    }

    /// From now on these verify tokens, or none are taken.
    pub fn take_tokens(&self, tokens: Option<Tokens>) {
        self.tokens.store(tokens.map(Arc::new));
    }

    /// Whether tokens are taken at all.
    pub fn takes_tokens(&self) -> bool {
        self.tokens.load().is_some()
    }

    /// What becomes of a token. The answer to a failure may take some seconds.
    pub(super) async fn bearer(
        &self,
        peer: IpAddr,
        authzid: Option<&str>,
        token: &BearerToken,
    ) -> Answer {
        let Some(tokens) = self.tokens.load_full() else { return Answer::Wrong };
        let shared = &self.shared;
        if shared.guard.may_address_try(peer).await == Verdict::TryLater {
            tracing::warn!(%peer, "token refused after too many failures");
            return Answer::TryLater;
        }
        let Ok(place) = self.waiting.try_acquire() else { return Answer::TryLater };
        let verdict = tokens.verdict(token).await;
        // who is held back keeps nobody else waiting
        drop(place);
        let (answer, delay) = match verdict {
            Judged::Genuine(name) => shared.holder(peer, &name, authzid).await,
            Judged::Refused(why) => {
                tracing::warn!(%peer, why, "token refused");
                (Answer::Wrong, shared.guard.address_failed(peer).await)
            }
            Judged::Unknown => return Answer::TryLater,
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        answer
    }
}

impl Shared {
    /// The user whom a genuine token names, if there is one and they want to be nobody else.
    /// RFC 7628 §3.1
    async fn holder(&self, peer: IpAddr, name: &str, authzid: Option<&str>) -> (Answer, Duration) {
        let directory = self.directory.borrow().clone();
        let _turn = self.guard.turn().await;
        if name.len() > LOGIN_BYTES_MAX {
            return (Answer::Wrong, self.guard.address_failed(peer).await);
        }
        let login: Login = directory.login_named(name);
        let standing = self.guard.standing(peer, &login).await;
        if standing.verdict == Verdict::TryLater {
            tracing::warn!(%peer, "login refused after too many failures");
            return (Answer::TryLater, Duration::ZERO);
        }
        let is_known = directory.users.contains_key(&login);
        let is_themselves = authzid.is_none_or(|authzid| directory.login_named(authzid) == login);
        if is_known && is_themselves {
            self.guard.succeeded((peer, &login), standing).await;
            return (Answer::Accepted(login), Duration::ZERO);
        }
        let delay = self.guard.failed(peer, &login).await;
        log_failure(peer, is_known.then_some(&login));
        (if is_known { Answer::NotAuthorized } else { Answer::Wrong }, delay)
    }
}
