//! STARTTLS, LOGIN and AUTHENTICATE: up to the password, which the driver checks. RFC 3501 §6.2

use std::sync::Arc;

use super::{Command, Dialogue, Done, Next, State, Transport};
use crate::directory::Directory;
use crate::imap::capability::{Passwords, StartTls};
use crate::imap::command::table::Verb;
use crate::imap::output::Output;
use crate::imap::wire::lex::Cursor;
use crate::imap::{Refusal, Session};
use crate::mail::id::Login;
use crate::sasl::{self, Failure, Mechanism, Password, Step};

/// A login whose password has to be checked. Without Debug: it is secret.
pub struct Attempt {
    tag: String,
    /// Who claims to be there.
    pub login: String,
    /// The proof.
    pub password: Password,
}

/// What became of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is this user.
    Accepted(Login),
    /// Unknown user or wrong password: not told apart.
    Wrong,
    /// There were too many attempts.
    TryLater,
}

/// A SASL exchange that waits for the client's next response. RFC 4422 §3
pub struct Exchange {
    tag: String,
    sasl: sasl::Exchange,
}

impl Dialogue {
    pub(super) fn before_login(
        &mut self,
        command: &Command<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        let mut arguments = command.arguments.clone();
        match command.row.verb {
            Verb::StartTls => self.start_tls(&command.tag, &mut arguments, out),
            Verb::Login => self.login(&command.tag, &mut arguments),
            _ => self.authenticate(&command.tag, &mut arguments, out),
        }
    }

    /// RFC 3501 §6.2.1
    fn start_tls(
        &mut self,
        tag: &str,
        arguments: &mut Cursor<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        arguments.end()?;
        let is_on = self.context.capabilities.has("STARTTLS");
        if self.transport.tls == StartTls::Absent || !is_on {
            return Err(Refusal::Bad("TLS is active already, or switched off".to_owned()));
        }
        out.line(format_args!("{tag} OK Begin TLS"));
        Ok(Done::Proposed(Next::StartTls))
    }

    /// RFC 3501 §6.2.3
    fn login(&self, tag: &str, arguments: &mut Cursor<'_>) -> Result<Done, Refusal> {
        let login = arguments.astring()?;
        arguments.space()?;
        let password = arguments.astring()?;
        arguments.end()?;
        self.check_passwords_are_taken()?;
        // what is not UTF-8 is nobody's login
        let login = String::from_utf8_lossy(&login).into_owned();
        let attempt = Attempt { tag: tag.to_owned(), login, password: Password(password) };
        Ok(Done::Proposed(Next::Verify(attempt)))
    }

    /// RFC 3501 §6.2.2, with an initial response: RFC 4959 §3
    fn authenticate(
        &self,
        tag: &str,
        arguments: &mut Cursor<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        let name = arguments.atom()?.to_ascii_uppercase();
        let mut initial = None;
        if arguments.take(b' ') && arguments.peek().is_some_and(|byte| byte != b' ') {
            initial = Some(arguments.take_while("an initial response", |b| b > b' ')?);
        }
        arguments.end()?;
        let is_on = self.context.capabilities.has(&format!("AUTH={name}"));
        let mechanism = Mechanism::parse(&name).filter(|_| is_on);
        let mechanism =
            mechanism.ok_or_else(|| Refusal::no("CANNOT", "There is no such mechanism"))?;
        self.check_passwords_are_taken()?;
        let (sasl, step) = sasl::Exchange::new(mechanism, initial);
        let exchange = Exchange { tag: tag.to_owned(), sasl };
        exchange.after(step, out).map(Done::Proposed)
    }

    fn check_passwords_are_taken(&self) -> Result<(), Refusal> {
        match self.transport.passwords {
            Passwords::Taken => Ok(()),
            Passwords::Refused => {
                Err(Refusal::no("PRIVACYREQUIRED", "Begin TLS before you send a password"))
            }
        }
    }

    /// The client's answer to a `+`; `None`: it was too long.
    pub fn respond(
        &mut self,
        mut exchange: Exchange,
        line: Option<Vec<u8>>,
        out: &mut Output<'_>,
    ) -> Next {
        let tag = exchange.tag.clone();
        let Some(line) = line else { return self.bad(&tag, "the response is too long", out) };
        let step = exchange.sasl.step(&line);
        match exchange.after(step, out) {
            Ok(next) => next,
            Err(Refusal::No { code, text }) => {
                let code = code.unwrap_or("AUTHENTICATIONFAILED");
                out.line(format_args!("{tag} NO [{code}] {text}"));
                Next::Command
            }
            Err(Refusal::Bad(why)) => self.bad(&tag, &why, out),
            Err(Refusal::Disconnected) => Next::Close,
        }
    }

    /// The driver has checked the password.
    pub fn verified(
        &mut self,
        attempt: Attempt,
        (verdict, directory): (Verdict, Arc<Directory>),
        out: &mut Output<'_>,
    ) -> Next {
        let tag = attempt.tag;
        match verdict {
            Verdict::Accepted(user) => {
                let session = Session { user, directory, condstore: false };
                self.state = State::Authenticated(session);
                let capabilities = self.capabilities();
                out.line(format_args!("{tag} OK [CAPABILITY {capabilities}] Logged in"));
            }
            Verdict::Wrong => {
                let why = "Wrong user name or password";
                out.line(format_args!("{tag} NO [AUTHENTICATIONFAILED] {why}"));
            }
            Verdict::TryLater => {
                let why = "Too many attempts, try again later";
                out.line(format_args!("{tag} NO [UNAVAILABLE] {why}"));
            }
        }
        Next::Command
    }

    /// The handshake is done; what came before it has been thrown away.
    pub fn tls_started(&mut self) {
        self.transport = Transport::TLS;
    }
}

impl Exchange {
    /// Writes a challenge, or hands over what the client claims.
    fn after(self, step: Step, out: &mut Output<'_>) -> Result<Next, Refusal> {
        match step {
            Step::Challenge(challenge) => {
                out.push(b"+ ");
                out.push(&challenge);
                out.push(b"\r\n");
                Ok(Next::Line(self))
            }
            Step::Credentials { login, password } => {
                Ok(Next::Verify(Attempt { tag: self.tag, login, password }))
            }
            // RFC 3501 §6.2.2: BAD for `*`
            Step::Failed(Failure::Cancelled) => Err(Refusal::Bad("cancelled".to_owned())),
            Step::Failed(Failure::Malformed) => {
                Err(Refusal::Bad("the response is not what the mechanism wants".to_owned()))
            }
            Step::Failed(Failure::NotAuthorized) => {
                Err(Refusal::no("AUTHORIZATIONFAILED", "You may not act as somebody else"))
            }
        }
    }
}
