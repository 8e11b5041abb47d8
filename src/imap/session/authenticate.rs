//! STARTTLS, LOGIN and AUTHENTICATE: up to the password, which the driver checks. RFC 3501 §6.2

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Command, Dialogue, Done, Next, State, Transport};
use crate::directory::Directory;
use crate::imap::capability::{Passwords, StartTls};
use crate::imap::command::table::Verb;
use crate::imap::output::Output;
use crate::imap::wire::lex::Cursor;
use crate::imap::{Refusal, Session};
use crate::mail::id::Login;
use std::sync::Arc;

/// A login whose password has to be checked. Without Debug: it is secret.
pub struct Attempt {
    tag: String,
    /// Who claims to be there.
    pub login: String,
    /// The proof.
    pub password: Vec<u8>,
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
    step: Step,
}

enum Step {
    /// PLAIN's only message. RFC 4616 §2
    Plain,
    /// LOGIN's first answer.
    Name,
    /// LOGIN's second answer.
    Password(String),
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
        Ok(Done::Proposed(attempt(tag, &login, password)))
    }

    /// RFC 3501 §6.2.2, with an initial response: RFC 4959 §3
    fn authenticate(
        &self,
        tag: &str,
        arguments: &mut Cursor<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        let mechanism = arguments.atom()?.to_ascii_uppercase();
        let mut initial = None;
        if arguments.take(b' ') && arguments.peek().is_some_and(|byte| byte != b' ') {
            let response = arguments.take_while("an initial response", |b| b > b' ')?;
            // an empty response is written so that it can be told from none
            initial = Some(if response == b"=" { b"".as_slice() } else { response }.to_vec());
        }
        arguments.end()?;
        let is_on = self.context.capabilities.has(&format!("AUTH={mechanism}"));
        let step = match mechanism.as_str() {
            "PLAIN" if is_on => Step::Plain,
            "LOGIN" if is_on => Step::Name,
            _ => return Err(Refusal::no("CANNOT", "There is no such mechanism")),
        };
        self.check_passwords_are_taken()?;
        let exchange = Exchange { tag: tag.to_owned(), step };
        match initial {
            Some(response) => exchange.take(&response, out).map(Done::Proposed),
            None => Ok(Done::Proposed(exchange.ask(out))),
        }
    }

    fn check_passwords_are_taken(&self) -> Result<(), Refusal> {
        match self.transport.passwords {
            Passwords::Taken => Ok(()),
            Passwords::Refused => {
                Err(Refusal::no("PRIVACYREQUIRED", "Begin TLS before you send a password"))
            }
        }
    }

    /// The client's answer to a `+`; `None`: it was too long. `*` cancels. RFC 3501 §6.2.2
    pub fn respond(
        &mut self,
        exchange: Exchange,
        line: Option<Vec<u8>>,
        out: &mut Output<'_>,
    ) -> Next {
        let tag = exchange.tag.clone();
        match line {
            None => self.bad(&tag, "the response is too long", out),
            Some(line) if line == b"*" => self.bad(&tag, "cancelled", out),
            Some(line) => match exchange.take(&line, out) {
                Ok(next) => next,
                Err(_) => self.bad(&tag, "the response is not what the mechanism wants", out),
            },
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
    /// Writes the challenge.
    fn ask(self, out: &mut Output<'_>) -> Next {
        match self.step {
            Step::Plain => out.line(format_args!("+ ")),
            Step::Name => out.line(format_args!("+ {}", STANDARD.encode("Username:"))),
            Step::Password(_) => out.line(format_args!("+ {}", STANDARD.encode("Password:"))),
        }
        Next::Line(self)
    }

    /// Takes a response, still in base64.
    fn take(self, response: &[u8], out: &mut Output<'_>) -> Result<Next, Refusal> {
        let bad = || Refusal::Bad("the response is not what the mechanism wants".to_owned());
        let response = STANDARD.decode(response.trim_ascii()).map_err(|_| bad())?;
        match self.step {
            Step::Plain => {
                let (login, password) = plain(&response).ok_or_else(bad)?;
                Ok(attempt(&self.tag, login, password.to_vec()))
            }
            Step::Name => {
                let name = String::from_utf8(response).map_err(|_| bad())?;
                Ok(Exchange { tag: self.tag, step: Step::Password(name) }.ask(out))
            }
            Step::Password(name) => Ok(attempt(&self.tag, name.as_bytes(), response)),
        }
    }
}

/// `[authzid] NUL authcid NUL passwd`: nobody may act as somebody else. RFC 4616 §2
fn plain(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = message.split(|byte| *byte == 0);
    let (authorization, login, password) = (parts.next()?, parts.next()?, parts.next()?);
    let is_own = authorization.is_empty() || authorization == login;
    (is_own && parts.next().is_none() && !login.is_empty()).then_some((login, password))
}

fn attempt(tag: &str, login: &[u8], password: Vec<u8>) -> Next {
    // what is not UTF-8 is nobody's login
    let login = String::from_utf8_lossy(login).into_owned();
    Next::Verify(Attempt { tag: tag.to_owned(), login, password })
}
