//! What differs where users submit mail: they log in, and may send as what is theirs only.
//! RFC 6409, RFC 4954

use super::super::spool::Spooled;
use super::super::{Peer, Shared};
use super::Driver;
use crate::config::PlaintextLogin;
use crate::delivery::Envelope;
use crate::mail::id::Login;
use crate::sasl::{Answer, Mechanism, Question};
use crate::smtp::path::Path;
use crate::smtp::{InClear, LoginOffer, Refusal, Reply};

/// How users log in on this connection.
pub(super) fn offer(peer: &Peer, shared: &Shared) -> LoginOffer {
    let in_clear = match shared.config.plaintext_without_tls {
        PlaintextLogin::Loopback if peer.is_on_this_machine() => InClear::Taken,
        PlaintextLogin::Loopback | PlaintextLogin::Never => InClear::Refused,
    };
    let scram = shared.directory.borrow().all_have_scram_keys();
    let is_offered = |m: &Mechanism| scram || *m != Mechanism::ScramSha256;
    LoginOffer { mechanisms: Mechanism::ALL.into_iter().filter(is_offered).collect(), in_clear }
}

impl Driver {
    /// The answer to a failure may take some seconds.
    pub(super) async fn authenticate(&mut self, question: &Question) {
        let answer = self.shared.login.answer(self.peer.address.ip(), question).await;
        if let Answer::Accepted(user) = &answer {
            self.peer.logged_in();
            tracing::info!(%user, "submission login");
        }
        self.session.authenticated(answer, self.shared.clock.now());
    }

    pub(super) fn sender(&mut self, _path: &Path) {
        let verdict = match self.revoked() {
            Some(revoked) => Err(revoked),
            None => Ok(()),
        };
        self.session.sender(verdict, self.shared.clock.now());
    }

    /// What is answered to a user who is one no longer: the directory has changed in mid-session.
    pub(super) fn revoked(&mut self) -> Option<Reply> {
        let user = self.session.user()?;
        if self.shared.directory.borrow().users.contains_key(user) {
            return None;
        }
        tracing::info!(%user, "the user is gone");
        self.session.log_out(self.shared.clock.now());
        Some(Refusal::LoginFirst.into())
    }

    /// The answer leaves when everything is durable, and not before.
    pub(super) async fn submit(&self, _: &Envelope, _: &Login, _: &Spooled) -> Reply {
        Reply::new(451, "4.3.0", "Try again later")
    }
}
