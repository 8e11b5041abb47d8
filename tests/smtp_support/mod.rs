//! A peer that talks to a pure `smtp::Session`: it answers for the directory and keeps what would
//! be delivered. Knows no socket.

#![allow(dead_code)]

use postfach::mail::id::Timestamp;
use postfach::smtp::path::Path;
use postfach::smtp::{Reply, Session, Settings, Step, Tls, Transaction, Verdict};

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
        let hostname = "mail.example.org".to_owned();
        let now = Timestamp::from_seconds(1_000);
        let mut peer = Peer {
            session: Session::new(Settings { hostname, message_bytes_max, tls }, now),
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
                Step::Recipient(path) => self.session.recipient(verdict(&path), self.now),
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

fn verdict(path: &Path) -> Verdict {
    match path {
        Path::Postmaster => Verdict::Accepted,
        Path::Address(a) if a.domain() != "example.org" => Verdict::Foreign,
        Path::Address(a) if KNOWN.contains(&a.local()) => Verdict::Accepted,
        Path::Address(_) | Path::Null => Verdict::Unknown,
    }
}
