//! What differs where users submit mail: they log in, and may send as what is theirs only.
//! RFC 6409, RFC 4954

use std::io;
use std::sync::Arc;

use super::super::auditor::session_id;
use super::super::spool::{self, SpoolError, Spooled};
use super::super::{Peer, Shared};
use super::{Driver, Failed, content};
use crate::config::PlaintextLogin;
use crate::delivery::submission::{self, Outgoing, Submitter};
use crate::delivery::{Accepted, Envelope};
use crate::mail::id::Login;
use crate::mail::transport::Body;
use crate::outbound::dkim;
use crate::sasl::{Answer, Mechanism, Question};
use crate::smtp::path::Path;
use crate::smtp::{InClear, LoginOffer, Refusal, Reply};
use crate::store::audit::Presence;

/// How users log in on this connection.
pub(super) fn offer(peer: &Peer, shared: &Shared) -> LoginOffer {
    let in_clear = match shared.config.load().plaintext_without_tls {
        PlaintextLogin::Loopback if peer.is_on_this_machine() => InClear::Taken,
        PlaintextLogin::Loopback | PlaintextLogin::Never => InClear::Refused,
    };
    let scram = shared.directory.borrow().all_have_scram_keys();
    let tokens = shared.login.takes_tokens();
    let is_offered = |mechanism: &Mechanism| match mechanism {
        // offered when there is something to bind to
        Mechanism::ScramSha256Plus => false,
        Mechanism::ScramSha256 => scram,
        Mechanism::Plain | Mechanism::Login => true,
        Mechanism::OAuthBearer | Mechanism::XOAuth2 => tokens,
    };
    LoginOffer { mechanisms: Mechanism::ALL.into_iter().filter(is_offered).collect(), in_clear }
}

impl Driver {
    /// The answer to a failure may take some seconds.
    pub(super) async fn authenticate(&mut self, question: &Question) {
        let answer = self.shared.login.answer(self.peer.address.ip(), question).await;
        if let Answer::Accepted(user) = &answer {
            self.peer.logged_in();
            tracing::info!(%user, "submission login");
            self.enter(user);
        }
        self.session.authenticated(answer, self.shared.clock.now());
    }

    /// The audit log tells of a login, and of what is done in its session.
    fn enter(&mut self, user: &Login) {
        let now = self.shared.clock.now();
        let presence = Presence::new(user.clone(), session_id(now), self.peer.address.ip());
        self.shared.auditor.login(&presence, "submission", now);
        self.presence = Some(Arc::new(presence));
    }

    pub(super) fn sender(&mut self, path: &Path) {
        let verdict = match (self.revoked(), self.session.user()) {
            (Some(revoked), _) => Err(revoked),
            (None, Some(user)) => {
                submission::check_reverse_path(&self.shared.directory.borrow(), user, path)
            }
            (None, None) => Err(Refusal::LoginFirst.into()),
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

    /// From the spool to the answer, which leaves when everything is durable, and not before.
    pub(super) async fn submit(
        &self,
        user: &Login,
        envelope: &Envelope,
        spooled: Spooled,
    ) -> Result<Accepted, Failed> {
        let directory = self.shared.directory.borrow().clone();
        let unknown = || Arc::new(Presence::of(user.clone()));
        let by = Submitter {
            store: &*self.shared.store,
            directory: &directory,
            user,
            presence: &self.presence.clone().unwrap_or_else(unknown),
            desk: &self.shared.desk,
        };
        let folder = spool::folder(&self.shared.config.load().data_dir);
        let spooled = match envelope.transaction.parameters.body {
            Some(Body::BinaryMime) if spooled.loses_nul().await? => return Err(Failed::Nul),
            Some(Body::BinaryMime) => spooled.as_lines(folder.clone()).await?,
            _ => spooled,
        };
        let plan = submission::plan(&by, envelope, content(&spooled)).await?;
        let spooled = match &plan.header {
            Some(header) => spooled.with_header(header, folder).await?,
            None => spooled,
        };
        let outgoing = Outgoing {
            signatures: self.signatures(&plan.domain, &spooled).await?,
            body: if spooled.is_ascii().await? { Body::SevenBit } else { Body::EightBitMime },
        };
        Ok(submission::submit(&by, envelope, &plan, (content(&spooled), outgoing)).await?)
    }

    /// The DKIM signatures of the author's domain, as whole lines; none if it does not sign.
    async fn signatures(&self, domain: &str, spooled: &Spooled) -> Result<Vec<u8>, Failed> {
        let Some(keys) = self.shared.dkim.keys(domain) else { return Ok(Vec::new()) };
        let now = self.shared.clock.now();
        let bytes = spooled.message().bytes.clone();
        // A signature takes a millisecond or two, and a large message its disk.
        let sign = move || {
            let content = dkim::Content::read(&bytes)?;
            dkim::sign(&keys, &content.header, &content.body, now).map_err(io::Error::other)
        };
        let signed = tokio::task::spawn_blocking(sign).await.map_err(io::Error::other);
        Ok(signed.and_then(|lines| lines).map_err(SpoolError::Io)?)
    }
}
