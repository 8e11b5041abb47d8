//! One connection's conversation: what is allowed now, and what happens next. RFC 5321 §4.1.4
//!
//! Pure: the driver brings bytes and the time, and performs the steps. Whether a recipient is ours,
//! who logs in, and what becomes of a message is the driver's to find out (`Step::Recipient`,
//! `Step::Authenticate`, `Step::Deliver`…); until it has answered, no further byte is taken. Knows
//! no socket, store or directory.

mod authenticate;
mod receive;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mail::address::Address;
use crate::mail::id::{Login, Timestamp};
use crate::mail::transport::Body;
use crate::sasl;
use crate::sasl::binding::Binding;
use crate::smtp::command::Command;
use crate::smtp::content::{Content, Lines};
use crate::smtp::data::DataReceiver;
use crate::smtp::framing::Framer;
use crate::smtp::parameters::{MailParameters, RcptParameters};
use crate::smtp::path::Path;
use crate::smtp::reply::{Refusal, Reply};
use crate::smtp::transaction::{Recipient, Transaction};
use crate::smtp::{
    COMMAND_TIMEOUT_SECS, ERRORS_MAX, IDLE_COMMANDS_MAX, LOGIN_TIMEOUT_SECS, RECIPIENTS_MAX,
    RECIPIENTS_REFUSED_MAX, TRANSACTIONS_MAX, extension,
};
pub use settings::{InClear, LoginOffer, Role, Settings, Tls};

/// How the client introduced itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// The name that it gave.
    pub name: String,
    /// Whether it said EHLO.
    pub extended: bool,
}

/// What the driver has to do.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Write all replies so far, then bring bytes.
    NeedInput,
    /// Send this; it may be written together with those that follow. RFC 2920 §3.2
    Reply(Reply),
    /// Answer by `authenticated` what the login needs to be told.
    Authenticate(Box<sasl::Question>),
    /// Say by `sender` whether the user may send as this; at submission only.
    Sender(Path),
    /// Say by `recipient` whether this one is ours, or may be sent to.
    Recipient(Path),
    /// Keep these bytes of the message.
    Content(Vec<u8>),
    /// Throw away what was kept of the message.
    Discard,
    /// The message is complete: say by `delivered` what has become of it.
    Deliver(Box<Transaction>),
    /// Write all replies, throw away all bytes that have come, do the handshake, call
    /// `tls_started`.
    StartTls,
    /// Write all replies and close the connection.
    Close,
}

/// Whether a recipient is ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its mail is accepted.
    Accepted,
    /// The domain is ours, but nobody has the address.
    Unknown,
    /// The domain is not ours.
    Foreign,
    /// It is refused for a reason of its own.
    Refused(Reply),
}

/// A connection's conversation.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// What a login can be bound to.
    binding: Option<Arc<Binding>>,
    client: Option<Client>,
    /// Who has logged in; nobody does on port 25.
    user: Option<Login>,
    framer: Framer,
    phase: Phase,
    mail: Mail,
    counts: Counts,
    pace: Pace,
    queue: VecDeque<Step>,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Phase {
    Command,
    Data(DataReceiver, Content),
    Chunk(Chunk),
    /// The next line answers a challenge.
    Response(sasl::Exchange),
    /// The driver is asked about a login.
    Login(sasl::Exchange),
    /// The driver is asked about the sender of a transaction.
    Sender(Box<Transaction>),
    /// The driver is asked about a recipient.
    Recipient(Box<Recipient>),
    /// The driver is asked to deliver.
    Delivery,
    /// The driver does the handshake.
    Handshake,
    Closed,
}

/// The transaction.
#[derive(Debug)]
enum Mail {
    None,
    Open(Box<Transaction>),
    /// Chunks have come.
    Chunks(Box<Transaction>, Content, Lines),
}

/// The chunk that comes in.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    left: u64,
    bytes: u64,
    last: bool,
    /// Its octets are thrown away, and this is the answer.
    refused: Option<Refusal>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    errors: usize,
    refused_recipients: usize,
    transactions: usize,
    idle_commands: usize,
}

/// Until when what is awaited must have come.
#[derive(Clone, Copy, Debug)]
struct Pace {
    deadline: Timestamp,
    window_bytes: usize,
}

impl Session {
    /// A new connection; the greeting is the first step.
    pub fn new(settings: Settings, now: Timestamp) -> Session {
        let greeting = Reply::basic(220, vec![format!("{} ESMTP", settings.hostname).into()]);
        let patience = match settings.role {
            Role::Relay => COMMAND_TIMEOUT_SECS,
            Role::Submission(_) => LOGIN_TIMEOUT_SECS,
        };
        Session {
            framer: settings.framer(),
            settings,
            binding: None,
            client: None,
            user: None,
            phase: Phase::Command,
            mail: Mail::None,
            counts: Counts::default(),
            pace: Pace { deadline: after(now, patience), window_bytes: 0 },
            queue: VecDeque::from([Step::Reply(greeting)]),
        }
    }

    /// Takes bytes from the start of `input`; says how many, and what to do. To be called until it
    /// answers `NeedInput` or `Close`.
    pub fn step(&mut self, input: &[u8], now: Timestamp) -> (usize, Step) {
        let mut used = 0;
        loop {
            if let Some(step) = self.queue.pop_front() {
                return (used, step);
            }
            let rest = &input[used..];
            used += match self.phase {
                Phase::Closed => return (input.len(), Step::Close),
                Phase::Login(_)
                | Phase::Sender(_)
                | Phase::Recipient(_)
                | Phase::Delivery
                | Phase::Handshake => return (used, Step::NeedInput),
                _ if rest.is_empty() => return (used, Step::NeedInput),
                Phase::Command => self.take_line(rest, now),
                Phase::Response(_) => self.take_response(rest, now),
                Phase::Data(..) => self.take_data(rest, now),
                Phase::Chunk(chunk) => self.take_chunk(chunk, rest, now),
            };
        }
    }

    /// The answer to `Step::Sender`: nothing, or why MAIL is refused. RFC 6409 §6.1
    pub fn sender(&mut self, verdict: Result<(), Reply>, now: Timestamp) {
        let Phase::Sender(transaction) = self.enter(Phase::Command) else { return };
        self.await_command(now);
        match verdict {
            Ok(()) => self.open(transaction),
            Err(reply) => self.refuse_with(reply),
        }
    }

    /// The answer to `Step::Recipient`. RFC 5321 §4.1.1.3
    pub fn recipient(&mut self, verdict: Verdict, now: Timestamp) {
        let Phase::Recipient(recipient) = self.enter(Phase::Command) else { return };
        self.await_command(now);
        match verdict {
            Verdict::Accepted => {
                if let Mail::Open(transaction) = &mut self.mail {
                    transaction.recipients.push(*recipient);
                }
                self.reply(Reply::new(250, "2.1.5", "OK"));
            }
            Verdict::Unknown => self.refuse_recipient(Refusal::UnknownRecipient.into()),
            Verdict::Foreign => self.refuse_recipient(Refusal::ForeignRecipient.into()),
            Verdict::Refused(reply) => self.refuse_recipient(reply),
        }
    }

    /// The answer to `Step::Deliver`: what the client is told.
    pub fn delivered(&mut self, reply: Reply, now: Timestamp) {
        self.enter(Phase::Command);
        self.await_command(now);
        self.reply(reply);
    }

    /// The handshake is done: everything the client said before it is forgotten. RFC 3207 §4.2
    pub fn tls_started(&mut self, now: Timestamp) {
        self.enter(Phase::Command);
        self.settings.tls = Tls::Active;
        self.client = None;
        self.user = None;
        self.framer = self.settings.framer();
        self.mail = Mail::None;
        self.await_command(now);
    }

    /// When `expire` is due, unless bytes come before.
    pub fn deadline(&self) -> Timestamp {
        self.pace.deadline
    }

    /// The deadline has passed: the connection ends.
    pub fn expire(&mut self) {
        self.end(Refusal::Timeout);
    }

    /// The daemon stops: the connection ends.
    pub fn shut_down(&mut self) {
        self.end(Refusal::ShuttingDown);
    }

    /// Whether ending the connection now would cost the client nothing.
    pub fn is_idle(&self) -> bool {
        matches!((&self.phase, &self.mail), (Phase::Command | Phase::Response(_), Mail::None))
            && self.framer.is_empty()
            && self.queue.is_empty()
    }

    /// Whether content is coming in.
    pub fn is_receiving(&self) -> bool {
        matches!(self.phase, Phase::Data(..) | Phase::Chunk(_))
    }

    /// How the client introduced itself.
    pub fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Whether the bytes are protected.
    pub fn tls(&self) -> Tls {
        self.settings.tls
    }

    /// Who has logged in.
    pub fn user(&self) -> Option<&Login> {
        self.user.as_ref()
    }

    /// How long the message is, if MAIL has said it. RFC 1870 §6
    pub fn declared_bytes(&self) -> Option<u64> {
        match &self.mail {
            Mail::None => None,
            Mail::Open(transaction) | Mail::Chunks(transaction, ..) => transaction.parameters.size,
        }
    }

    /// The reverse-path of the transaction.
    pub fn reverse_path(&self) -> Option<&Address> {
        match &self.mail {
            Mail::None => None,
            Mail::Open(transaction) | Mail::Chunks(transaction, ..) => {
                transaction.reverse_path.as_ref()
            }
        }
    }

    /// How many recipients the transaction has.
    pub fn recipients(&self) -> usize {
        match &self.mail {
            Mail::None => 0,
            Mail::Open(transaction) | Mail::Chunks(transaction, ..) => transaction.recipients.len(),
        }
    }

    fn take_line(&mut self, input: &[u8], now: Timestamp) -> usize {
        let (used, line) = self.framer.feed(input);
        let Some(line) = line else { return used };
        self.await_command(now);
        let parse = match self.settings.role {
            Role::Relay => Command::parse,
            Role::Submission(_) => Command::parse_submitted,
        };
        match line.and_then(|line| parse(&line)) {
            Ok(Command::StartTls) => self.start_tls(&input[used..]),
            Ok(command) => self.command(command, now),
            Err(Refusal::ChunkSize) => self.end(Refusal::ChunkSize),
            Err(refusal) => self.refuse(refusal),
        }
        used
    }

    fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Helo(name) => self.helo(name),
            Command::Ehlo(name) => self.ehlo(name),
            Command::Mail(path, parameters) => self.mail(path, parameters),
            Command::Rcpt(path, parameters) => self.rcpt(path, parameters),
            Command::Data => self.data(),
            Command::Bdat { bytes, last } => self.bdat(bytes, last, now),
            Command::Rset => {
                self.abort();
                self.idle_reply(Reply::new(250, "2.0.0", "OK"));
            }
            Command::Noop => self.idle_reply(Reply::new(250, "2.0.0", "OK")),
            // Nobody is told which addresses exist. RFC 5321 §7.3
            Command::Vrfy => {
                self.idle_reply(Reply::new(252, "2.5.2", "Send mail to it and you will see"));
            }
            Command::Help => self.idle_reply(Reply::new(214, "2.0.0", "See RFC 5321")),
            Command::Quit => {
                self.reply(Reply::new(221, "2.0.0", "Bye"));
                self.enter(Phase::Closed);
            }
            Command::StartTls => self.refuse(Refusal::TlsPipelined),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial, now),
        }
    }

    /// RFC 5321 §4.1.1.1
    fn helo(&mut self, name: String) {
        self.abort();
        self.client = Some(Client { name, extended: false });
        self.idle_reply(Reply::basic(250, vec![self.settings.hostname.clone().into()]));
    }

    /// RFC 5321 §4.1.1.1
    fn ehlo(&mut self, name: String) {
        self.abort();
        self.client = Some(Client { name, extended: true });
        self.idle_reply(Reply::basic(250, extension::lines(&self.settings)));
    }

    /// RFC 5321 §4.1.1.2, RFC 1870 §6.1, RFC 6409 §4.3
    fn mail(&mut self, path: Path, parameters: MailParameters) {
        let refused = match self.mail {
            _ if self.client.is_none() => Some(Refusal::GreetingFirst),
            _ if self.awaits_login() => Some(Refusal::LoginFirst),
            Mail::Open(_) => Some(Refusal::NestedMail),
            Mail::Chunks(..) => Some(Refusal::ChunksStarted),
            Mail::None if !path.is_ascii() && !parameters.smtputf8 => Some(Refusal::NeedsUtf8),
            Mail::None if parameters.size.is_some_and(|n| n > self.settings.message_bytes_max) => {
                Some(Refusal::TooLarge)
            }
            Mail::None => None,
        };
        if let Some(refusal) = refused {
            return self.refuse(refusal);
        }
        if self.counts.transactions >= TRANSACTIONS_MAX {
            return self.end(Refusal::TooManyTransactions);
        }
        self.counts.transactions += 1;
        let transaction = Box::new(Transaction::new(path.clone(), parameters));
        match self.settings.role {
            Role::Relay => self.open(transaction),
            Role::Submission(_) => {
                self.enter(Phase::Sender(transaction));
                self.queue.push_back(Step::Sender(path));
            }
        }
    }

    fn open(&mut self, transaction: Box<Transaction>) {
        self.mail = Mail::Open(transaction);
        self.reply(Reply::new(250, "2.1.0", "OK"));
    }

    /// RFC 5321 §4.1.1.3
    fn rcpt(&mut self, path: Path, parameters: RcptParameters) {
        let refused = match &self.mail {
            Mail::None => Some(Refusal::MailFirst),
            Mail::Chunks(..) => Some(Refusal::ChunksStarted),
            Mail::Open(t) if t.recipients.len() >= RECIPIENTS_MAX => {
                return self.reply(Refusal::TooManyRecipients.into());
            }
            Mail::Open(t) if !path.is_ascii() && !t.parameters.smtputf8 => Some(Refusal::NeedsUtf8),
            Mail::Open(_) => None,
        };
        if let Some(refusal) = refused {
            return self.refuse(refusal);
        }
        self.enter(Phase::Recipient(Box::new(Recipient { path: path.clone(), parameters })));
        self.queue.push_back(Step::Recipient(path));
    }

    /// RFC 5321 §4.1.1.4
    fn data(&mut self) {
        match &self.mail {
            Mail::None => self.refuse(Refusal::MailFirst),
            Mail::Chunks(..) => self.refuse(Refusal::ChunksStarted),
            Mail::Open(t) if t.recipients.is_empty() => self.refuse(Refusal::NoRecipient),
            Mail::Open(t) if t.parameters.body == Some(Body::BinaryMime) => {
                self.refuse(Refusal::BinaryData);
            }
            Mail::Open(_) => {
                let content = Content::new(self.settings.message_bytes_max);
                let receiver = DataReceiver::new(self.settings.line_ends());
                self.enter(Phase::Data(receiver, content));
                self.reply(Reply::basic(354, vec!["End with a line that has only a dot".into()]));
            }
        }
    }

    /// RFC 3207 §4
    fn start_tls(&mut self, behind: &[u8]) {
        match self.settings.tls {
            Tls::Unavailable => self.refuse(Refusal::TlsUnavailable),
            Tls::Active => self.refuse(Refusal::TlsActive),
            Tls::Available if !behind.is_empty() => self.end(Refusal::TlsPipelined),
            Tls::Available => {
                self.abort();
                self.enter(Phase::Handshake);
                self.reply(Reply::new(220, "2.0.0", "Ready to start TLS"));
                self.queue.push_back(Step::StartTls);
            }
        }
    }

    /// Ends the transaction without a message.
    fn abort(&mut self) {
        if let Mail::Chunks(..) = std::mem::replace(&mut self.mail, Mail::None) {
            self.queue.push_back(Step::Discard);
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.queue.push_back(Step::Reply(reply));
    }

    /// Answers a command that brings no message nearer.
    fn idle_reply(&mut self, reply: Reply) {
        self.counts.idle_commands += 1;
        if self.counts.idle_commands > IDLE_COMMANDS_MAX {
            return self.end(Refusal::TooManyIdleCommands);
        }
        self.reply(reply);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refuse_with(refusal.into());
    }

    fn refuse_with(&mut self, reply: Reply) {
        self.counts.errors += 1;
        if self.counts.errors > ERRORS_MAX {
            return self.end(Refusal::TooManyErrors);
        }
        self.reply(reply);
    }

    fn refuse_recipient(&mut self, reply: Reply) {
        self.counts.refused_recipients += 1;
        if self.counts.refused_recipients > RECIPIENTS_REFUSED_MAX {
            return self.end(Refusal::TooManyErrors);
        }
        self.reply(reply);
    }

    /// Says why, and closes.
    fn end(&mut self, refusal: Refusal) {
        self.reply(refusal.into());
        self.enter(Phase::Closed);
    }

    fn enter(&mut self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase, phase)
    }

    /// Who has to log in gets no more time by anything else.
    fn await_command(&mut self, now: Timestamp) {
        if !self.awaits_login() {
            self.pace = Pace { deadline: after(now, COMMAND_TIMEOUT_SECS), window_bytes: 0 };
        }
    }
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(now.0.saturating_add(seconds * 1_000_000))
}
