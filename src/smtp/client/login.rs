//! AUTH as a client: PLAIN where it is offered, LOGIN otherwise. RFC 4954, RFC 4616
//!
//! Knows no TLS: whether a password may go out is the session's to say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AUTH_LINE_BYTES_MAX, Offer};

/// What we log in with; without Debug, so that it cannot get into a log.
#[derive(Clone)]
pub struct Credentials {
    /// Who we are.
    pub login: String,
    /// What we know.
    pub password: String,
}

/// Whether a password may go out on a connection without TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlainLogin {
    /// Never.
    Refused,
    /// The connection does not leave this machine.
    Allowed,
}

/// What is still to be said when the server asks.
pub(super) struct Exchange {
    /// The last comes first.
    answers: Vec<String>,
    /// We have sent `*`.
    cancelled: bool,
}

impl Exchange {
    /// Begins with the first line; `None` when no mechanism is offered that we know.
    pub(super) fn new(credentials: &Credentials, offer: &Offer) -> Option<(Exchange, String)> {
        let Credentials { login, password } = credentials;
        if offer.auth_plain {
            let response = STANDARD.encode(format!("\0{login}\0{password}"));
            let line = format!("AUTH PLAIN {response}\r\n");
            if line.len() <= AUTH_LINE_BYTES_MAX {
                return Some((Exchange::with(Vec::new()), line));
            }
            return Some((Exchange::with(vec![response]), "AUTH PLAIN\r\n".to_owned()));
        }
        let answers = vec![STANDARD.encode(password), STANDARD.encode(login)];
        offer.auth_login.then(|| (Exchange::with(answers), "AUTH LOGIN\r\n".to_owned()))
    }

    /// The answer to 334. When there is nothing more to say, `*` gives the exchange up; `None` when
    /// the server asks even then. RFC 4954 §4
    pub(super) fn answer(&mut self) -> Option<String> {
        let answer = match self.answers.pop() {
            Some(answer) => answer,
            None if std::mem::replace(&mut self.cancelled, true) => return None,
            None => "*".to_owned(),
        };
        Some(answer + "\r\n")
    }

    fn with(answers: Vec<String>) -> Exchange {
        Exchange { answers, cancelled: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(password: &str) -> Credentials {
        Credentials { login: "anna".into(), password: password.into() }
    }

    fn lines(password: &str, offer: &Offer) -> Vec<String> {
        let (mut exchange, first) = Exchange::new(&credentials(password), offer).expect("offered");
        let mut lines = vec![first];
        lines.extend(std::iter::from_fn(|| exchange.answer()));
        lines
    }

    #[test]
    fn plain_comes_with_its_response() {
        let offer = Offer { auth_plain: true, auth_login: true, ..Offer::default() };
        assert_eq!(lines("secret", &offer), ["AUTH PLAIN AGFubmEAc2VjcmV0\r\n", "*\r\n"]);
    }

    #[test]
    fn a_response_that_makes_the_line_too_long_waits_for_its_turn() {
        let offer = Offer { auth_plain: true, ..Offer::default() };
        // "AUTH PLAIN " and CRLF leave 499 bytes: 372 of 373 before base64, 6 of them not password.
        assert_eq!(lines(&"x".repeat(366), &offer)[0].len(), 509);
        let long = lines(&"x".repeat(367), &offer);
        assert_eq!(long[0], "AUTH PLAIN\r\n");
        assert_eq!(long.len(), 3);
    }

    #[test]
    fn login_answers_two_questions() {
        let offer = Offer { auth_login: true, ..Offer::default() };
        let expected = ["AUTH LOGIN\r\n", "YW5uYQ==\r\n", "c2VjcmV0\r\n", "*\r\n"];
        assert_eq!(lines("secret", &offer), expected);
    }

    #[test]
    fn without_a_known_mechanism_there_is_no_exchange() {
        assert!(Exchange::new(&credentials("x"), &Offer::default()).is_none());
    }
}
