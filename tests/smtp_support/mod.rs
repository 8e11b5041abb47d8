//! A peer that talks to a pure `smtp::Session`: it answers for the directory and keeps what would
//! be delivered. Knows no socket.

#![allow(dead_code)]

use postfach::mail::id::{Login, Timestamp};
use postfach::sasl::binding::Binding;
use postfach::sasl::scram::{Keys, Proof};
use postfach::sasl::{Answer, Mechanism, Question};
use postfach::smtp::path::Path;
use postfach::smtp::{
    InClear, LoginOffer, Reply, Role, Session, Settings, Step, Tls, Transaction, Verdict,
};

/// Ours: these local parts at example.org.
pub(crate) const KNOWN: [&str; 4] = ["support", "info", "bücher", "a b"];

/// Largest message.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 1000;

/// A message that was accepted.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Message {
    pub(crate) transaction: Transaction,
    pub(crate) content: Vec<u8>,
}

/// One connection.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) wire: Vec<u8>,
    pub(crate) messages: Vec<Message>,
    pub(crate) closed: bool,
    pub(crate) now: Timestamp,
    content: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(tls: Tls) -> Peer {
        Peer::with_limit(tls, MESSAGE_BYTES_MAX)
    }

    pub(crate) fn with_limit(tls: Tls, message_bytes_max: u64) -> Peer {
        Peer::in_role(Role::Relay, tls, message_bytes_max)
    }

    /// A user's program; anna's password is "anna-secret".
    pub(crate) fn submitting(tls: Tls, in_clear: InClear) -> Peer {
        let mechanisms = Mechanism::ALL.into_iter().filter(|m| !m.is_bearer()).collect();
        let role = Role::Submission(LoginOffer { mechanisms, in_clear });
        Peer::in_role(role, tls, 2 * MESSAGE_BYTES_MAX)
    }

    /// The same on a connection of TLS 1.3, to which a login can be bound.
    pub(crate) fn submitting_bound() -> Peer {
        let mut peer = Peer::submitting(Tls::Active, InClear::Refused);
        let exporter = *b"what both ends of TLS can export";
        peer.session.bind(Some(Binding { exporter, end_point: Some([9; 32].into()) }));
        peer
    }

    /// The same where tokens are taken, too; anna's is "anna-token".
    pub(crate) fn submitting_with_tokens(tls: Tls) -> Peer {
        let (mechanisms, in_clear) = (Mechanism::ALL.to_vec(), InClear::Refused);
        let role = Role::Submission(LoginOffer { mechanisms, in_clear });
        Peer::in_role(role, tls, 2 * MESSAGE_BYTES_MAX)
    }

    fn in_role(role: Role, tls: Tls, message_bytes_max: u64) -> Peer {
        let hostname = "mail.example.org".to_owned();
        let now = Timestamp::from_seconds(1_000);
        let mut peer = Peer {
            session: Session::new(Settings { hostname, message_bytes_max, tls, role }, now),
            wire: Vec::new(),
            messages: Vec::new(),
            closed: false,
            now,
            content: Vec::new(),
        };
        peer.send(b"");
        peer
    }

    /// Brings bytes and performs the steps.
    pub(crate) fn send(&mut self, input: &[u8]) {
        let mut at = 0;
        while !self.closed {
            let (used, step) = self.session.step(&input[at..], self.now);
            at += used;
            match step {
                Step::NeedInput => {
                    assert_eq!(at, input.len(), "a session that needs input has used all of it");
                    return;
                }
                Step::Reply(reply) => reply.write(&mut self.wire),
                Step::Authenticate(question) => {
                    self.session.authenticated(answer(&question), self.now);
                }
                Step::Sender(path) => self.session.sender(sender(&path), self.now),
                Step::Recipient(path) => {
                    let verdict = match self.session.user() {
                        Some(_) => submitted(&path),
                        None => verdict(&path),
                    };
                    self.session.recipient(verdict, self.now);
                }
                Step::Content(bytes) => self.content.extend(bytes),
                Step::Discard => self.content.clear(),
                Step::Deliver(transaction) => {
                    let content = std::mem::take(&mut self.content);
                    self.messages.push(Message { transaction: *transaction, content });
                    self.session.delivered(Reply::new(250, "2.0.0", "OK"), self.now);
                }
                Step::StartTls => {
                    self.session.tls_started(self.now);
                    return;
                }
                Step::Close => self.closed = true,
            }
        }
    }

    /// Brings a text whose lines end in CRLF; gives what is answered to it.
    pub(crate) fn ask(&mut self, text: &str) -> String {
        let before = self.wire.len();
        self.send(text.replace('\n', "\r\n").as_bytes());
        String::from_utf8_lossy(&self.wire[before..]).replace("\r\n", "\n")
    }
}

/// Only anna logs in; pest has tried too often.
fn answer(question: &Question) -> Answer {
    let (login, password) = match question {
        Question::Password { login, password } => (login, password),
        Question::Keys { .. } => return Answer::Keys(Box::new(keys())),
        Question::Proof { proof: Proof::Right(_), login } if login == "anna" => {
            return Answer::Accepted(Login::new("anna"));
        }
        Question::Proof { .. } => return Answer::Wrong,
        Question::Token { authzid, token } => {
            return match (token.0.as_str(), authzid.as_deref()) {
                ("anna-token", None | Some("anna")) => Answer::Accepted(Login::new("anna")),
                ("anna-token", Some(_)) => Answer::NotAuthorized,
                ("far-away", _) => Answer::TryLater,
                _ => Answer::Wrong,
            };
        }
    };
    match (login.as_str(), password.0.as_slice()) {
        ("anna", b"anna-secret") => Answer::Accepted(Login::new("anna")),
        ("pest", _) => Answer::TryLater,
        _ => Answer::Wrong,
    }
}

/// Of "anna-secret".
fn keys() -> Keys {
    Keys {
        iterations: 4096,
        salt: b"salt of anna 16b".to_vec(),
        stored_key: *b"\x7f\xcd\xcb\xfd\xd3\x35\x89\x62\x21\x81\xca\x0d\x45\x51\x03\x0c\
                       \xc8\xed\xa8\x52\x81\x61\x91\x6e\xce\x59\x2c\xa0\xf0\x07\xfe\x88",
        server_key: *b"\x48\x2c\x72\x76\x1f\x19\x3a\x2e\xa4\xd2\x53\xda\x88\x0b\x6e\xf0\
                       \xd0\xef\x28\x6b\x05\x99\x9e\xa5\x22\x76\x5a\x2d\x25\x6d\x60\x87",
        nonce: "server-nonce".to_owned(),
    }
}

/// anna may send as herself and support, and reports.
fn sender(path: &Path) -> Result<(), Reply> {
    match path {
        Path::Null => Ok(()),
        Path::Address(a) if a.domain() == "example.org" && a.local() != "ben" => Ok(()),
        _ => Err(Reply::new(550, "5.7.1", "You may send as anna@example.org")),
    }
}

/// Users may write to anybody but those at refused.example.
fn submitted(path: &Path) -> Verdict {
    match (verdict(path), path) {
        (_, Path::Address(a)) if a.domain() == "refused.example" => {
            Verdict::Refused(Reply::new(550, "5.1.2", "There is no such domain"))
        }
        (Verdict::Foreign, _) => Verdict::Accepted,
        (verdict, _) => verdict,
    }
}

fn verdict(path: &Path) -> Verdict {
    match path {
        Path::Postmaster => Verdict::Accepted,
        Path::Address(a) if a.domain() != "example.org" => Verdict::Foreign,
        Path::Address(a) if KNOWN.contains(&a.local()) => Verdict::Accepted,
        Path::Address(_) | Path::Null => Verdict::Unknown,
    }
}
