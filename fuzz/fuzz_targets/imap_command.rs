//! A whole IMAP connection on a store in memory: whatever is sent, each command has one tagged
//! answer, every line of the answer ends in CRLF, and nothing panics.
#![no_main]

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use postfach::directory::{Directory, file};
use postfach::imap::Context;
use postfach::imap::capability::Capabilities;
use postfach::imap::output::Output;
use postfach::imap::session::{Belongs, Dialogue, Incoming, Next, Step, Transport};
use postfach::imap::wire::framing::{Event, Framer, tag_of};
use postfach::mail::account::FolderNames;
use postfach::mail::id::Login;
use postfach::mail::message::parse;
use postfach::sasl::Answer;
use postfach::server::folders;
use postfach::store::change::{Bytes, NewMessage};
use postfach::store::memory::Memory;
use postfach::sys::ManualClock;

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
role = "super-admin"
[[team]]
name = "support"
members = ["anna"]
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
teams = ["support"]
"#;

/// Two messages to begin with.
const PROLOGUE: &[u8] = b"0 LOGIN anna x\r\n\
    0 APPEND INBOX (\\Seen) {51+}\r\nSubject: one\r\nFrom: Anna <anna@example.org>\r\n\r\nText\
    \r\n0 APPEND Shared/Support {30+}\r\nContent-Type: text/html\r\n\r\n<b>\r\n0 SELECT INBOX\r\n";

fuzz_target!(|data: &[u8]| {
    let mut connection = Connection::new();
    connection.receive(PROLOGUE);
    let answers = connection.written.split(|&byte| byte == b'\n');
    assert_eq!(answers.filter(|line| line.starts_with(b"0 OK")).count(), 4);
    connection.receive(data);
});

fn directory() -> Arc<Directory> {
    static DIRECTORY_READ: OnceLock<Arc<Directory>> = OnceLock::new();
    let read = || match file::parse(DIRECTORY, Path::new("directory.toml")) {
        Ok(directory) => Arc::new(directory),
        Err(faults) => panic!("{faults:?}"),
    };
    DIRECTORY_READ.get_or_init(read).clone()
}

/// Every future here is ready at once: the store is in memory.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the store in memory made a command wait"),
    }
}

struct Connection {
    store: Arc<Memory>,
    framer: Framer,
    dialogue: Dialogue,
    /// The message that is coming in.
    message: Vec<u8>,
    buffer: Vec<u8>,
    written: Vec<u8>,
    closed: bool,
}

impl Connection {
    fn new() -> Connection {
        let store = Arc::new(Memory::new(Arc::new(ManualClock::default())));
        now(folders::ensure(&*store, &directory())).expect("the standard folders");
        let context = Context {
            store: store.clone(),
            folder_names: Arc::new(FolderNames::default()),
            message_bytes_max: 10_000,
            capabilities: Arc::new(Capabilities::without(&[])),
            admin: None,
            own_copies: Default::default(),
            object_ids: postfach::imap::object_id::ObjectIds::by([7; 32]),
        };
        let dialogue = Dialogue::new(Arc::new(context), Transport::TLS);
        let (message, buffer, written) = (Vec::new(), Vec::new(), Vec::new());
        let framer = Framer::default();
        Connection { store, framer, dialogue, message, buffer, written, closed: false }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.framer.receive(bytes);
        while !self.closed {
            let Some(event) = self.framer.next(&self.dialogue.limits()) else { return };
            let tag = match &event {
                Event::Command(command) | Event::Message { head: command, .. } => tag_of(command),
                Event::Refused { tag, .. } => tag.clone(),
                Event::Invite | Event::Overrun => String::new(),
            };
            let mut out = Output::new(&mut self.buffer, &mut self.written);
            let next = match event {
                Event::Command(command) => now(self.dialogue.command(&command, &mut out)),
                Event::Refused { tag, why } => self.dialogue.refused(&tag, why, &mut out),
                Event::Invite => Next::Command,
                Event::Overrun => Next::Close,
                Event::Message { head, announced } => {
                    let next = now(self.dialogue.message_announced(&head, announced, &mut out));
                    if !matches!(next, Next::Message(_)) {
                        self.framer.refuse();
                    }
                    next
                }
            };
            now(out.flush()).expect("memory");
            self.perform(next);
            if !self.closed && !tag.is_empty() {
                self.check_answer(&tag);
            }
        }
    }

    /// The last line of what a command brought forth is its tagged answer.
    fn check_answer(&self, tag: &str) {
        let lines = self.written.strip_suffix(b"\r\n").expect("a whole line");
        let last = lines.rsplit(|&byte| byte == b'\n').next().expect("a line");
        let words = [" OK ", " NO ", " BAD "];
        let answers = words.map(|word| format!("{tag}{word}"));
        let shown = last.escape_ascii();
        assert!(answers.iter().any(|answer| last.starts_with(answer.as_bytes())), "{shown}");
    }

    fn perform(&mut self, next: Next) {
        let mut next = next;
        loop {
            let mut out = Output::new(&mut self.buffer, &mut self.written);
            let limits = self.dialogue.limits();
            next = match next {
                Next::Command => break,
                Next::Close => {
                    self.closed = true;
                    break;
                }
                Next::StartTls => {
                    self.dialogue.tls_started();
                    break;
                }
                Next::Line(exchange) => match self.framer.next_line(&limits) {
                    Some(line) => self.dialogue.respond(exchange, (line, directory()), &mut out),
                    None => Next::Close,
                },
                Next::Verify(attempt) => {
                    let accepted = (Answer::Accepted(Login::new("anna")), directory());
                    self.dialogue.verified(attempt, accepted, &mut out)
                }
                Next::Idle(idle) => match self.framer.next_line(&limits) {
                    Some(line) => now(self.dialogue.idle_ended(idle, line, &mut out)),
                    None => Next::Close,
                },
                Next::LoggedOut | Next::Compress => Next::Command,
                Next::Message(incoming) => {
                    let connection = (&mut self.framer, &mut self.dialogue);
                    message(connection, (*incoming, &mut self.message), &*self.store, &mut out)
                }
            };
            now(out.flush()).expect("memory");
        }
    }
}

/// What the driver does until the command goes on or ends, with memory for a spool.
fn message(
    (framer, dialogue): (&mut Framer, &mut Dialogue),
    (mut incoming, bytes): (Incoming, &mut Vec<u8>),
    store: &Memory,
    out: &mut Output<'_>,
) -> Next {
    loop {
        let next = match now(incoming.step(store)) {
            Step::Literal => {
                framer.accept();
                incoming.invite(out);
                while let Some(piece) = framer.message_piece() {
                    if piece.is_empty() {
                        return Next::Close;
                    }
                    if incoming.received(&piece) == Belongs::ToMessage {
                        bytes.extend_from_slice(&piece);
                    }
                }
                continue;
            }
            Step::Bytes(piece) => {
                bytes.extend_from_slice(&piece);
                continue;
            }
            Step::Whole => {
                incoming.has_arrived(new_message(std::mem::take(bytes)));
                continue;
            }
            Step::Follows => match framer.next(&dialogue.limits()) {
                Some(Event::Command(tail)) => {
                    now(dialogue.message_follows(incoming, (&tail, None), out))
                }
                Some(Event::Message { head, announced }) => {
                    now(dialogue.message_follows(incoming, (&head, Some(announced)), out))
                }
                Some(Event::Refused { tag, why }) => dialogue.refused(&tag, why, out),
                Some(Event::Invite | Event::Overrun) | None => Next::Close,
            },
            Step::Complete => {
                framer.refuse();
                now(dialogue.messages_complete(incoming, out))
            }
        };
        if !matches!(next, Next::Message(_)) {
            bytes.clear();
            framer.refuse();
        }
        return next;
    }
}

fn new_message(bytes: Vec<u8>) -> NewMessage {
    let mut hash = [0; 32];
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hash[..8].copy_from_slice(&hasher.finish().to_be_bytes());
    let parsed = Arc::new(parse(&bytes));
    NewMessage { bytes: Bytes::Memory(Arc::new(bytes)), hash, parsed }
}
