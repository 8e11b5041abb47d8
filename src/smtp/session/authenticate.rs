//! The part of a session that logs a user in: AUTH, its challenges, and what the driver says.
//! RFC 4954 §4

use std::sync::Arc;

use super::{Mail, Phase, Role, Session, Step};
use crate::mail::id::Timestamp;
use crate::sasl::binding::Binding;
use crate::sasl::{self, Answer, Exchange, Failure, Mechanism};
use crate::smtp::command::Response;
use crate::smtp::reply::{Refusal, Reply};

impl Session {
    /// Whether nothing can be sent before somebody has logged in.
    pub(super) fn awaits_login(&self) -> bool {
        matches!(self.settings.role, Role::Submission(_)) && self.user.is_none()
    }

    /// What a login can be bound to, now that TLS is active: where SCRAM is offered, it is offered
    /// with it, too. RFC 5802 §6
    pub fn bind(&mut self, binding: Option<Binding>) {
        let Role::Submission(offer) = &mut self.settings.role else { return };
        offer.mechanisms.retain(|mechanism| *mechanism != Mechanism::ScramSha256Plus);
        let offers_scram = offer.mechanisms.contains(&Mechanism::ScramSha256);
        self.binding = binding.filter(|_| offers_scram).map(Arc::new);
        if self.binding.is_some() {
            offer.mechanisms.insert(0, Mechanism::ScramSha256Plus);
        }
    }

    /// RFC 4954 §4
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<Response>, now: Timestamp) {
        match self.may_begin(mechanism) {
            Err(refusal) => self.refuse(refusal),
            Ok(mechanism)
                if initial.as_ref().is_some_and(|r| r.0.len() > mechanism.line_bytes_max()) =>
            {
                self.refuse(Refusal::ResponseTooLong);
            }
            Ok(mechanism) => {
                let initial = initial.as_ref().map(|response| response.0.as_slice());
                let (exchange, step) = Exchange::on(self.binding.clone(), mechanism, initial);
                self.proceed(exchange, step, now);
            }
        }
    }

    fn may_begin(&self, mechanism: &str) -> Result<Mechanism, Refusal> {
        let Role::Submission(offer) = &self.settings.role else {
            return Err(Refusal::NotImplemented);
        };
        if self.client.is_none() {
            return Err(Refusal::GreetingFirst);
        }
        if self.user.is_some() {
            return Err(Refusal::LoggedInAlready);
        }
        if !matches!(self.mail, Mail::None) {
            return Err(Refusal::AuthInTransaction);
        }
        let mechanism = Mechanism::parse(mechanism).filter(|m| offer.mechanisms.contains(m));
        let mechanism = mechanism.ok_or(Refusal::UnknownMechanism)?;
        if self.settings.takes_passwords() { Ok(mechanism) } else { Err(Refusal::TlsFirst) }
    }

    /// Takes the client's answer to a challenge.
    pub(super) fn take_response(&mut self, input: &[u8], now: Timestamp) -> usize {
        let (used, line) = self.framer.feed(input);
        let Some(line) = line else { return used };
        let Phase::Response(mut exchange) = self.enter(Phase::Command) else { return used };
        match line.map(Response) {
            Ok(line) if line.0.len() <= exchange.line_bytes_max() => {
                let step = exchange.step(&line.0);
                self.proceed(exchange, step, now);
            }
            Ok(_) | Err(Refusal::LineTooLong) => self.refuse(Refusal::ResponseTooLong),
            Err(refusal) => self.refuse(refusal),
        }
        used
    }

    /// The answer to `Step::Authenticate`.
    pub fn authenticated(&mut self, answer: Answer, now: Timestamp) {
        let Phase::Login(mut exchange) = self.enter(Phase::Command) else { return };
        let step = exchange.answer(answer);
        self.proceed(exchange, step, now);
    }

    /// The user is one no longer: as if nobody had logged in. To be called instead of letting
    /// anything more be sent.
    pub fn log_out(&mut self, now: Timestamp) {
        self.await_command(now);
        self.user = None;
    }

    fn proceed(&mut self, exchange: Exchange, step: sasl::Step, now: Timestamp) {
        match step {
            sasl::Step::Challenge(challenge) => {
                let text = String::from_utf8_lossy(&challenge).into_owned();
                self.enter(Phase::Response(exchange));
                self.reply(Reply::basic(334, vec![text.into()]));
            }
            sasl::Step::Ask(question) => {
                self.enter(Phase::Login(exchange));
                self.queue.push_back(Step::Authenticate(Box::new(question)));
            }
            sasl::Step::Done(user) => {
                self.user = Some(user);
                self.await_command(now);
                self.reply(Reply::new(235, "2.7.0", "Welcome"));
            }
            sasl::Step::Failed(failure) => self.refuse(failure.into()),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Refusal {
        match failure {
            Failure::Cancelled => Refusal::Cancelled,
            Failure::Malformed => Refusal::ResponseSyntax,
            Failure::NotAuthorized | Failure::Wrong | Failure::NotBound => {
                Refusal::WrongCredentials
            }
            Failure::BadToken => Refusal::BadToken,
            Failure::TryLater => Refusal::LoginLater,
        }
    }
}
