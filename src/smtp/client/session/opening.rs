//! From the greeting to the first mail: EHLO or HELO, STARTTLS, AUTH. RFC 5321 §3.2

use super::{Phase, PlainLogin, Session, Step, Tls};
use crate::mail::id::Timestamp;
use crate::smtp::client::Told;
use crate::smtp::client::login::Exchange;
use crate::smtp::client::offer::Offer;
use crate::smtp::client::reply::{Class, ServerReply};

impl Session {
    pub(super) fn ehlo(&mut self, now: Timestamp) {
        let line = format!("EHLO {}\r\n", self.settings.hostname);
        self.command(&line, Phase::Ehlo, now);
    }

    /// RFC 5321 §3.2
    pub(super) fn ehlo_reply(&mut self, reply: &ServerReply, now: Timestamp) {
        match reply.class() {
            Class::Positive => self.offered(Offer::parse(&reply.lines), now),
            Class::Permanent => {
                let line = format!("HELO {}\r\n", self.settings.hostname);
                self.command(&line, Phase::Helo, now);
            }
            Class::Intermediate | Class::Transient => self.refused(reply),
        }
    }

    pub(super) fn offered(&mut self, offer: Offer, now: Timestamp) {
        self.host.dsn = offer.dsn;
        let starttls = offer.starttls;
        self.offer = offer;
        match self.settings.tls {
            Tls::IfOffered | Tls::Required if starttls => {
                self.command("STARTTLS\r\n", Phase::StartTls, now);
            }
            Tls::Required => {
                self.unavailable("4.7.4", "the server does not offer STARTTLS");
            }
            Tls::Never | Tls::IfOffered | Tls::Active => self.login(now),
        }
    }

    /// Nothing may come with the reply: it would be taken for what is said under TLS.
    /// RFC 3207 §4.2
    pub(super) fn starttls_reply(&mut self, reply: &ServerReply, behind: &[u8], now: Timestamp) {
        match (reply.class(), self.settings.tls) {
            (Class::Positive, _) if behind.is_empty() => self.phase = Phase::Handshake,
            (Class::Positive, _) => {
                self.unavailable("4.7.5", "bytes came between STARTTLS and TLS");
            }
            (Class::Transient | Class::Permanent, Tls::IfOffered) => self.login(now),
            _ => self.refused(reply),
        }
    }

    /// RFC 4954 §4
    pub(super) fn login(&mut self, now: Timestamp) {
        let Some(credentials) = &self.settings.credentials else {
            self.phase = Phase::Ready;
            return;
        };
        let is_safe = self.is_protected() || self.settings.plain_login == PlainLogin::Allowed;
        if !is_safe {
            return self.unavailable("4.7.11", "no password is sent without TLS");
        }
        match Exchange::new(credentials, &self.offer) {
            Some((exchange, line)) => self.command(&line, Phase::Auth(exchange), now),
            None => {
                self.unavailable("4.7.4", "the server offers neither AUTH PLAIN nor AUTH LOGIN");
            }
        }
    }

    pub(super) fn auth_reply(
        &mut self,
        reply: &ServerReply,
        mut exchange: Exchange,
        now: Timestamp,
    ) {
        match reply.class() {
            Class::Positive => self.phase = Phase::Ready,
            Class::Intermediate => match exchange.answer() {
                Some(line) => self.command(&line, Phase::Auth(exchange), now),
                None => self.unavailable("4.5.0", "the server does not end AUTH"),
            },
            Class::Transient | Class::Permanent => self.refused(reply),
        }
    }

    /// The server does not let us in, for now.
    pub(super) fn refused(&mut self, reply: &ServerReply) {
        let told = self.host.said_for_now(reply);
        self.leave(told);
    }

    /// We do not want to go on.
    pub(super) fn unavailable(&mut self, status: &str, text: &str) {
        let told = self.host.judged(status, text);
        self.leave(told);
    }

    /// The reply to QUIT would change nothing.
    pub(super) fn leave(&mut self, told: Told) {
        self.output.extend_from_slice(b"QUIT\r\n");
        self.close(Step::Unavailable(told));
    }
}
