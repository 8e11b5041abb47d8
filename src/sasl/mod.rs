//! Layer 2: SASL as pure exchanges. Lines of the client go in as they come off the wire (base64),
//! challenges come out ready for the wire. What only the driver can know (is this the password?) is
//! a question to it; in the end there is a user or a failure. Knows no directory, no protocol and
//! no socket. RFC 4422

pub mod bearer;
pub mod binding;
pub mod scram;

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::mail::id::Login;
use bearer::{BearerToken, Form};
use binding::Binding;
use scram::{Challenged, Channel, ClientFirst, Keys, Proof};

/// Longest login in bytes. RFC 4616 §2
pub const LOGIN_BYTES_MAX: usize = 255;
/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Longest response in bytes, decoded: PLAIN's three parts and two NULs. `bearer` has its own.
pub const RESPONSE_BYTES_MAX: usize = 2 * LOGIN_BYTES_MAX + PASSWORD_BYTES_MAX + 2;
/// Longest line of a response in bytes, without its CRLF.
pub const LINE_BYTES_MAX: usize = RESPONSE_BYTES_MAX.div_ceil(3) * 4;

/// What LOGIN asks for; clients compare these texts.
const USERNAME: &[u8] = b"Username:";
const PASSWORD: &[u8] = b"Password:";

/// A mechanism that is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mechanism {
    /// A proof that the password is known, without it, and that counts on this connection alone.
    /// RFC 7677, RFC 5802 §6
    ScramSha256Plus,
    /// A proof that the password is known, without it. RFC 7677
    ScramSha256,
    /// Login and password in one response. RFC 4616
    Plain,
    /// Login, then password: not standard, but Outlook knows nothing else.
    /// draft-murchison-sasl-login
    Login,
    /// A token of an identity provider. RFC 7628
    OAuthBearer,
    /// The same in Google's older form, which some programs know alone.
    XOAuth2,
}

impl Mechanism {
    /// All but what needs TLS to bind to, in the order in which they are offered; that comes first.
    pub const ALL: [Mechanism; 5] = [
        Mechanism::ScramSha256,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::OAuthBearer,
        Mechanism::XOAuth2,
    ];

    /// The name that is advertised.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::XOAuth2 => "XOAUTH2",
        }
    }

    /// Whether it takes tokens.
    pub fn is_bearer(self) -> bool {
        matches!(self, Mechanism::OAuthBearer | Mechanism::XOAuth2)
    }

    /// Longest line of a response in bytes, without its CRLF.
    pub fn line_bytes_max(self) -> usize {
        if self.is_bearer() { bearer::LINE_BYTES_MAX } else { LINE_BYTES_MAX }
    }

    /// The mechanism with this name, in any case.
    pub fn parse(name: &str) -> Option<Mechanism> {
        let all = std::iter::once(Mechanism::ScramSha256Plus).chain(Mechanism::ALL);
        all.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }
}

/// A password on its way to be verified; without Debug, so that it cannot get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

/// What comes next in an exchange.
#[must_use]
pub enum Step {
    /// To be sent in a continuation or 334 line: base64, perhaps empty.
    Challenge(Vec<u8>),
    /// Only the driver can know; to be answered by `Exchange::answer`.
    Ask(Question),
    /// The exchange is over, and this is the user.
    Done(Login),
    /// The exchange is over without a user.
    Failed(Failure),
}

/// What an exchange has to be told.
#[derive(Clone, PartialEq, Eq)]
pub enum Question {
    /// Whether the password is that of the login.
    Password {
        /// Who they say they are.
        login: String,
        /// What they know.
        password: Password,
    },
    /// What is stored for the login, or for an unknown one something that cannot be told from it.
    Keys {
        /// Who they say they are.
        login: String,
    },
    /// Whether the proof counts.
    Proof {
        /// Who they say they are.
        login: String,
        /// What came of it.
        proof: Proof,
    },
    /// Whether the token is good, and whose it is.
    Token {
        /// Whom they want to act as: nobody but the token's user. RFC 7628 §3.1
        authzid: Option<String>,
        /// What they hold.
        token: BearerToken,
    },
}

/// A question holds secrets, so only its kind is shown.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Question::Password { .. } => "Password(…)",
            Question::Keys { .. } => "Keys(…)",
            Question::Proof { .. } => "Proof(…)",
            Question::Token { .. } => "Token(…)",
        })
    }
}

/// The driver's answer to a question.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is this user.
    Accepted(Login),
    /// To `Question::Keys`.
    Keys(Box<Keys>),
    /// Unknown user or wrong password: not told apart.
    Wrong,
    /// The token is good, but the user is another.
    NotAuthorized,
    /// There were too many attempts, or nobody can tell now.
    TryLater,
}

/// Keys are secret, so only the kind of an answer is shown.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::Accepted(_) => "Accepted(…)",
            Answer::Keys(_) => "Keys(…)",
            Answer::Wrong => "Wrong",
            Answer::NotAuthorized => "NotAuthorized",
            Answer::TryLater => "TryLater",
        })
    }
}

/// Why an exchange failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The client sent `*`. RFC 3501 §6.2.2, RFC 4954 §4
    Cancelled,
    /// Not base64, too long, or not what the mechanism asks for.
    Malformed,
    /// The client wants to act as somebody else than it logs in as. RFC 4616 §2
    NotAuthorized,
    /// Unknown user or wrong password: not told apart.
    Wrong,
    /// The proof was not made for this connection, or the client was not told that it can be:
    /// somebody is between. RFC 5802 §6
    NotBound,
    /// The token does not count here; why, is not told.
    BadToken,
    /// There were too many attempts, or nobody can tell now.
    TryLater,
}

/// One exchange. After `Done` or `Failed` it is over, and any further response fails.
pub struct Exchange(State);

/// An exchange holds secrets.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange(…)")
    }
}

enum State {
    Plain,
    LoginName,
    LoginPassword {
        login: String,
    },
    /// The driver is asked whether the password is right.
    Asked,
    ScramFirst(Channel),
    /// The driver is asked for the keys.
    ScramKeys(ClientFirst),
    ScramFinal(Box<Challenged>),
    /// The driver is asked whether the proof counts; this is the server's final message.
    ScramProof(String),
    /// The server's final message is to be answered with nothing.
    ScramEnd(Login),
    Bearer(Form),
    /// The driver is asked whether the token is good.
    BearerAsked(Form),
    /// The error is to be acknowledged, with whatever. RFC 7628 §3.2.3
    BearerEnd(Failure),
    Over,
}

impl Exchange {
    /// Begins an exchange that nothing can be bound to. `initial` is the client's initial response
    /// as it came off the wire (`=` stands for an empty one). RFC 4959 §3, RFC 4954 §4
    pub fn new(mechanism: Mechanism, initial: Option<&[u8]>) -> (Exchange, Step) {
        Exchange::on(None, mechanism, initial)
    }

    /// Begins an exchange on a connection where SCRAM-SHA-256-PLUS is offered, if there is a
    /// binding.
    pub fn on(
        binding: Option<Arc<Binding>>,
        mechanism: Mechanism,
        initial: Option<&[u8]>,
    ) -> (Exchange, Step) {
        let (state, challenge) = match mechanism {
            Mechanism::ScramSha256Plus => {
                (State::ScramFirst(binding.map_or(Channel::Unbound, Channel::Bound)), &b""[..])
            }
            Mechanism::ScramSha256 => {
                (State::ScramFirst(binding.map_or(Channel::Unbound, |_| Channel::Left)), &b""[..])
            }
            Mechanism::Plain => (State::Plain, &b""[..]),
            Mechanism::Login => (State::LoginName, USERNAME),
            Mechanism::OAuthBearer => (State::Bearer(Form::OAuthBearer), &b""[..]),
            Mechanism::XOAuth2 => (State::Bearer(Form::XOAuth2), &b""[..]),
        };
        let mut exchange = Exchange(state);
        let step = match initial {
            None => challenge_of(challenge),
            Some(b"=") => exchange.decoded(&[]),
            // `*` cancels only where there is a challenge to answer
            Some(b"*") => exchange.over(Failure::Malformed),
            Some(line) => exchange.step(line),
        };
        (exchange, step)
    }

    /// An exchange that consists of its question alone: a protocol's own login command.
    pub fn of_password(login: String, password: Password) -> (Exchange, Step) {
        (Exchange(State::Asked), Step::Ask(Question::Password { login, password }))
    }

    /// Takes the answer to a question.
    pub fn answer(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.0, State::Over), answer) {
            (State::Asked | State::BearerAsked(_), Answer::Accepted(user)) => Step::Done(user),
            (State::ScramKeys(first), Answer::Keys(keys)) => {
                let (challenged, server_first) = first.challenge(*keys);
                self.0 = State::ScramFinal(Box::new(challenged));
                challenge_of(server_first.as_bytes())
            }
            (State::ScramProof(server_final), Answer::Accepted(user)) => {
                self.0 = State::ScramEnd(user);
                challenge_of(server_final.as_bytes())
            }
            // deliberately no error before the end: it would make the client throw its token away
            (_, Answer::TryLater) => Step::Failed(Failure::TryLater),
            (State::BearerAsked(form), Answer::NotAuthorized) => {
                self.bad_token(form, Failure::NotAuthorized)
            }
            (State::BearerAsked(form), _) => self.bad_token(form, Failure::BadToken),
            _ => Step::Failed(Failure::Wrong),
        }
    }

    /// Longest line that the client may send next, in bytes, without its CRLF.
    pub fn line_bytes_max(&self) -> usize {
        match self.0 {
            State::Bearer(_) => bearer::LINE_BYTES_MAX,
            _ => LINE_BYTES_MAX,
        }
    }

    /// Takes the client's next line, without its CRLF.
    pub fn step(&mut self, line: &[u8]) -> Step {
        if line == b"*" {
            return self.over(Failure::Cancelled);
        }
        if line.len() > self.line_bytes_max() {
            return self.over(Failure::Malformed);
        }
        match STANDARD.decode(line) {
            Ok(response) => self.decoded(&response),
            Err(_) => self.over(Failure::Malformed),
        }
    }

    fn decoded(&mut self, response: &[u8]) -> Step {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Plain => self.ask(plain(response)),
            State::LoginName => match name(response) {
                Some(login) => {
                    self.0 = State::LoginPassword { login };
                    challenge_of(PASSWORD)
                }
                None => Step::Failed(Failure::Malformed),
            },
            State::LoginPassword { login } => self.ask(question(login, response)),
            State::ScramFirst(channel) => match ClientFirst::parse(response, &channel) {
                Ok(first) => {
                    let login = first.login.clone();
                    self.0 = State::ScramKeys(first);
                    Step::Ask(Question::Keys { login })
                }
                Err(failure) => Step::Failed(failure),
            },
            State::ScramFinal(challenged) => match challenged.prove(response) {
                Ok((login, proof, server_final)) => {
                    self.0 = State::ScramProof(server_final);
                    Step::Ask(Question::Proof { login, proof })
                }
                Err(failure) => Step::Failed(failure),
            },
            State::Bearer(form) => match form.read(response) {
                Ok(Some(question)) => {
                    self.0 = State::BearerAsked(form);
                    Step::Ask(question)
                }
                Ok(None) => self.bad_token(form, Failure::BadToken),
                Err(failure) => Step::Failed(failure),
            },
            State::BearerEnd(failure) => Step::Failed(failure),
            State::ScramEnd(user) if response.is_empty() => Step::Done(user),
            State::Asked
            | State::ScramKeys(_)
            | State::ScramProof(_)
            | State::ScramEnd(_)
            | State::BearerAsked(_)
            | State::Over => Step::Failed(Failure::Malformed),
        }
    }

    fn ask(&mut self, question: Result<Question, Failure>) -> Step {
        match question {
            Ok(question) => {
                self.0 = State::Asked;
                Step::Ask(question)
            }
            Err(failure) => Step::Failed(failure),
        }
    }

    /// No answer but an error that the client acknowledges. RFC 7628 §3.2.3
    fn bad_token(&mut self, form: Form, failure: Failure) -> Step {
        self.0 = State::BearerEnd(failure);
        challenge_of(form.error())
    }

    fn over(&mut self, failure: Failure) -> Step {
        self.0 = State::Over;
        Step::Failed(failure)
    }
}

fn challenge_of(text: &[u8]) -> Step {
    Step::Challenge(STANDARD.encode(text).into_bytes())
}

/// `[authzid] NUL authcid NUL passwd`. RFC 4616 §2
fn plain(response: &[u8]) -> Result<Question, Failure> {
    let mut parts = response.split(|b| *b == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::Malformed);
    };
    let login = name(authcid).ok_or(Failure::Malformed)?;
    if !authzid.is_empty() && authzid != authcid {
        return Err(Failure::NotAuthorized);
    }
    question(login, password)
}

fn name(bytes: &[u8]) -> Option<String> {
    let fits = (1..=LOGIN_BYTES_MAX).contains(&bytes.len()) && !bytes.contains(&0);
    std::str::from_utf8(bytes).ok().filter(|_| fits).map(str::to_owned)
}

fn question(login: String, password: &[u8]) -> Result<Question, Failure> {
    let fits = (1..=PASSWORD_BYTES_MAX).contains(&password.len()) && !password.contains(&0);
    let question = || Question::Password { login, password: Password(password.to_vec()) };
    fits.then(question).ok_or(Failure::Malformed)
}

#[cfg(test)]
mod tests;
