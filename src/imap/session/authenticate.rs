//! STARTTLS, LOGIN and AUTHENTICATE: up to the password, which the driver checks. RFC 3501 §6.2

use std::sync::Arc;

use super::{Command, Dialogue, Done, Next, State, Transport};
use crate::directory::Directory;
use crate::imap::capability::{Passwords, StartTls};
use crate::imap::command::table::Verb;
use crate::imap::output::Output;
use crate::imap::wire::lex::Cursor;
use crate::imap::{Refusal, Session};
use crate::sasl::{self, Answer, Failure, Mechanism, Password, Question, Step};
use crate::store::StoreError;

/// An exchange that cannot go on before the driver has answered a question.
pub struct Attempt {
    /// What the driver is asked.
    pub question: Question,
    exchange: Exchange,
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
            Verb::Login => self.login(&command.tag, &mut arguments, out),
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
    fn login(
        &self,
        tag: &str,
        arguments: &mut Cursor<'_>,
        out: &mut Output<'_>,
    ) -> Result<Done, Refusal> {
        let login = arguments.astring()?;
        arguments.space()?;
        let password = arguments.astring()?;
        arguments.end()?;
        self.check_passwords_are_taken()?;
        // what is not UTF-8 is nobody's login
        let login = String::from_utf8_lossy(&login).into_owned();
        let (sasl, step) = sasl::Exchange::of_password(login, Password(password));
        Exchange { tag: tag.to_owned(), sasl }.after(step, out).map(Done::Proposed)
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
        let binding = self.binding();
        let can_be = |m: &Mechanism| *m != Mechanism::ScramSha256Plus || binding.is_some();
        let mechanism = Mechanism::parse(&name).filter(|m| is_on && can_be(m));
        let mechanism =
            mechanism.ok_or_else(|| Refusal::no("CANNOT", "There is no such mechanism"))?;
        self.check_passwords_are_taken()?;
        let (sasl, step) = sasl::Exchange::on(binding, mechanism, initial);
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

    /// The client's answer to a `+` (`None`: it was too long), and the directory of this moment.
    pub fn respond(
        &mut self,
        mut exchange: Exchange,
        (line, directory): (Option<Vec<u8>>, Arc<Directory>),
        out: &mut Output<'_>,
    ) -> Next {
        let Some(line) = line else {
            return self.bad(&exchange.tag, "the response is too long", out);
        };
        let step = exchange.sasl.step(&line);
        self.proceed(exchange, (step, directory), out)
    }

    /// The driver's answer to an attempt's question, and the directory of this moment.
    pub fn verified(
        &mut self,
        attempt: Attempt,
        (answer, directory): (Answer, Arc<Directory>),
        out: &mut Output<'_>,
    ) -> Next {
        let mut exchange = attempt.exchange;
        let step = exchange.sasl.answer(answer);
        self.proceed(exchange, (step, directory), out)
    }

    fn proceed(
        &mut self,
        exchange: Exchange,
        (step, directory): (Step, Arc<Directory>),
        out: &mut Output<'_>,
    ) -> Next {
        let tag = exchange.tag.clone();
        if let Step::Done(user) = step {
            if let Err(error) = self.context.store.reachable() {
                return self.unavailable(&tag, error, out);
            }
            self.state = State::Authenticated(Session::of(self.presence(&user), directory));
            let capabilities = self.capabilities();
            out.line(format_args!("{tag} OK [CAPABILITY {capabilities}] Logged in"));
            return Next::Command;
        }
        match exchange.after(step, out) {
            Ok(next) => next,
            Err(Refusal::No { code, text }) => {
                let code = code.unwrap_or("AUTHENTICATIONFAILED".into());
                out.line(format_args!("{tag} NO [{code}] {text}"));
                Next::Command
            }
            Err(Refusal::Bad(why)) => self.bad(&tag, &why, out),
            Err(Refusal::Disconnected) => Next::Close,
        }
    }

    /// The program tries again, and may find another node.
    fn unavailable(&mut self, tag: &str, error: StoreError, out: &mut Output<'_>) -> Next {
        if let Refusal::No { code, text } = error.into() {
            let code = code.unwrap_or("UNAVAILABLE".into());
            out.line(format_args!("{tag} NO [{code}] {text}"));
        }
        Next::Command
    }

    /// The handshake is done; what came before it has been thrown away.
    pub fn tls_started(&mut self) {
        self.transport = Transport::TLS;
    }
}

impl Exchange {
    /// Writes a challenge, or hands a question to the driver.
    fn after(self, step: Step, out: &mut Output<'_>) -> Result<Next, Refusal> {
        let failure = match step {
            Step::Challenge(challenge) => {
                out.push(b"+ ");
                out.push(&challenge);
                out.push(b"\r\n");
                return Ok(Next::Line(self));
            }
            Step::Ask(question) => return Ok(Next::Verify(Attempt { question, exchange: self })),
            // only an answer or a response can be the end, and `proceed` has seen it
            Step::Done(_) => Failure::Wrong,
            Step::Failed(failure) => failure,
        };
        Err(match failure {
            // RFC 3501 §6.2.2: BAD for `*`
            Failure::Cancelled => Refusal::Bad("cancelled".to_owned()),
            Failure::Malformed => {
                Refusal::Bad("the response is not what the mechanism wants".to_owned())
            }
            Failure::NotAuthorized => {
                Refusal::no("AUTHORIZATIONFAILED", "You may not act as somebody else")
            }
            Failure::Wrong => Refusal::no("AUTHENTICATIONFAILED", "Wrong user name or password"),
            Failure::NotBound => Refusal::no(
                "AUTHENTICATIONFAILED",
                "This is not the connection that you take it for: somebody is between",
            ),
            Failure::BadToken => {
                Refusal::no("AUTHENTICATIONFAILED", "The token is not accepted here")
            }
            Failure::TryLater => Refusal::no("UNAVAILABLE", "Too many attempts, try again later"),
        })
    }
}
