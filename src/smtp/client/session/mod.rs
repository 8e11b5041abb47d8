//! One connection to a server: greeting, EHLO, STARTTLS, AUTH, then one mail after another.
//! RFC 5321 §3.1
//!
//! Pure: the driver brings bytes and the time, writes what `take_output` gives and performs the
//! steps. Everything that ends the connection ends in a fate for each recipient: nothing that was
//! begun is left without an answer.

mod mail;
mod opening;

use std::collections::VecDeque;
use std::time::Duration;

use crate::mail::address::Address;
use crate::mail::id::Timestamp;
use crate::mail::transport::Body;
use crate::smtp::client::fate::Host;
use crate::smtp::client::login::{Credentials, Exchange, PlainLogin};
use crate::smtp::client::offer::Offer;
use crate::smtp::client::reply::{Class, ReplyReader, ServerReply};
use crate::smtp::client::stuffing::Stuffer;
use crate::smtp::client::transaction::{Aim, Next, Transaction, UNASKED};
use crate::smtp::client::{Fate, Mail, MailRecipient, Timeouts, Told, Verification};

/// What a session has to know of its surroundings.
#[derive(Clone)]
pub struct Settings {
    /// Our name, for EHLO.
    pub hostname: String,
    /// The server's, for reports.
    pub server: String,
    /// Whether the bytes are, or are to be, protected.
    pub tls: Tls,
    /// What we log in with; `None`: we do not.
    pub credentials: Option<Credentials>,
    /// Whether we do so without TLS.
    pub plain_login: PlainLogin,
    /// Whether PIPELINING is used where it is offered.
    pub pipelining: Pipelining,
    /// How long each answer may take.
    pub timeouts: Timeouts,
}

/// Whether the bytes are, or are to be, protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// They are not to be.
    Never,
    /// By STARTTLS, if it is offered.
    IfOffered,
    /// By STARTTLS, or there will be no mail.
    Required,
    /// They are.
    Active,
}

/// Whether PIPELINING is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pipelining {
    /// Where it is offered.
    AsOffered,
    /// Not: this server has lost commands before.
    Never,
}

/// What the driver has to do. Steps are levels, not edges: asked again, the same one comes.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Write the output, then bring bytes, `expire` at the deadline, or `lost`.
    NeedInput,
    /// Do the handshake, call `tls_started`. RFC 3207 §4
    StartTls,
    /// Everything is prepared: call `send`, `verify` or `quit`.
    Ready,
    /// The server does not serve us; `Close` follows.
    Unavailable(Told),
    /// Bring all of the content by `content`, then call `content_end`; or `abandon`.
    Content,
    /// The mail is done with: the fates, in the order of its recipients.
    Done(Vec<Fate>),
    /// What the server says about a recipient.
    Verified(Verification),
    /// The connection, idle before this mail, was dead: nothing has been done; `Close` follows.
    Stale,
    /// Close the connection.
    Close,
}

/// Why no more bytes come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The server closed the connection.
    Closed,
    /// The system says so.
    Broken(String),
}

/// A connection.
pub struct Session {
    settings: Settings,
    host: Host,
    offer: Offer,
    reader: ReplyReader,
    phase: Phase,
    /// Transactions begun.
    begun: u32,
    /// The last transaction was left open, so the next one begins with RSET.
    reset: bool,
    /// The connection failed while replies to commands that went out together were awaited.
    suspect: bool,
    tls_broken: bool,
    deadline: Timestamp,
    /// When what is under way, the opening or a mail, must have come to its end.
    limit: Timestamp,
    output: Vec<u8>,
    queue: VecDeque<Step>,
}

/// What is awaited.
enum Phase {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// The driver does the handshake.
    Handshake,
    Auth(Exchange),
    Ready,
    Envelope(Box<Transaction>),
    /// The driver brings the content.
    Content(Box<Transaction>, Stuffer),
    /// The final reply.
    End(Box<Transaction>),
    /// The reply to a single dot; nobody's fate hangs on it.
    Dot(Box<Transaction>),
    Quit,
    Closed,
}

impl Session {
    /// A connection that has just been made; the server speaks first.
    pub fn new(settings: Settings, now: Timestamp) -> Session {
        let host = Host { name: settings.server.clone(), dsn: false };
        let limit = after(now, settings.timeouts.opening);
        let deadline = after(now, settings.timeouts.greeting).min(limit);
        Session {
            settings,
            host,
            offer: Offer::default(),
            reader: ReplyReader::default(),
            phase: Phase::Greeting,
            begun: 0,
            reset: false,
            suspect: false,
            tls_broken: false,
            deadline,
            limit,
            output: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// Takes bytes from the start of `input`; says how many, and what to do.
    pub fn step(&mut self, input: &[u8], now: Timestamp) -> (usize, Step) {
        let mut used = 0;
        loop {
            if let Some(step) = self.queue.pop_front() {
                return (used, step);
            }
            let rest = &input[used..];
            match self.phase {
                Phase::Closed => return (input.len(), Step::Close),
                // What comes before the handshake is part of it.
                Phase::Handshake => return (used, Step::StartTls),
                _ => {}
            }
            if rest.is_empty() {
                return (used, self.level());
            }
            let (taken, reply) = self.reader.feed(rest);
            used += taken;
            match reply {
                Some(Ok(reply)) => self.reply(&reply, &input[used..], now),
                Some(Err(fault)) => self.broken(fault.text()),
                None => {}
            }
        }
    }

    /// What is to be written before bytes are awaited. May hold a password: never to be logged.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Bytes of output that wait.
    pub fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// The handshake is done: everything said before it is forgotten. RFC 3207 §4.2
    pub fn tls_started(&mut self, now: Timestamp) {
        self.settings.tls = Tls::Active;
        self.reader = ReplyReader::default();
        self.ehlo(now);
    }

    /// Begins to send a mail. In `Step::Ready` only.
    pub fn send(&mut self, mail: &Mail, now: Timestamp) {
        self.begin(mail, Aim::Deliver, now);
    }

    /// Asks whether a recipient's mail would be taken, and sends none. In `Step::Ready` only.
    pub fn verify(&mut self, reverse_path: Option<&Address>, to: &Address, now: Timestamp) {
        let recipient = MailRecipient { address: to.clone(), notify: None, orcpt: None };
        let mail = Mail {
            reverse_path: reverse_path.cloned(),
            recipients: vec![recipient],
            envid: None,
            ret: None,
            body: Body::SevenBit,
            smtputf8: false,
            size_bytes: 0,
        };
        self.begin(&mail, Aim::Verify, now);
    }

    /// The next bytes of the content, as stored. In `Step::Content` only.
    pub fn content(&mut self, bytes: &[u8], now: Timestamp) {
        if let Phase::Content(_, stuffer) = &mut self.phase {
            stuffer.push(bytes, &mut self.output);
            self.wait(self.settings.timeouts.block, now);
        }
    }

    /// The content is complete.
    pub fn content_end(&mut self, now: Timestamp) {
        if !self.reader.is_empty() {
            return self.broken(UNASKED);
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Content(transaction, stuffer) => {
                stuffer.finish(&mut self.output);
                self.phase = Phase::End(transaction);
                // It may have taken the mail: its answer is worth its full time.
                self.limit = Timestamp(i64::MAX);
                self.wait(self.settings.timeouts.end, now);
            }
            other => self.phase = other,
        }
    }

    /// The content cannot be read to its end: the connection must go, for its end would be taken
    /// for the content's.
    pub fn abandon(&mut self, why: &str) {
        let told = self.host.judged("4.3.0", why);
        self.end(told);
    }

    /// Takes leave. RFC 5321 §4.1.1.10
    pub fn quit(&mut self, now: Timestamp) {
        self.output.extend_from_slice(b"QUIT\r\n");
        self.phase = Phase::Quit;
        self.limit = Timestamp(i64::MAX);
        self.wait(self.settings.timeouts.quit, now);
    }

    /// No more bytes come.
    pub fn lost(&mut self, lost: Lost) {
        let place = self.place();
        let text = match lost {
            Lost::Closed => format!("the server closed the connection {place}"),
            Lost::Broken(why) => format!("connection lost {place}: {why}"),
        };
        let told = self.host.judged("4.4.2", text);
        self.end(told);
    }

    /// The deadline has passed.
    pub fn expire(&mut self) {
        let text = match self.deadline == self.limit {
            true => format!("it took too long in all, and was broken off {}", self.place()),
            false => format!("no answer in time {}", self.place()),
        };
        let told = self.host.judged("4.4.2", text);
        self.end(told);
    }

    /// When `expire` is due, unless bytes come before.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// What the server offers.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether the bytes are protected.
    pub fn is_protected(&self) -> bool {
        self.settings.tls == Tls::Active
    }

    /// Whether it waits for us, and nothing else: `send`, `verify` or `quit`.
    pub fn is_idle(&self) -> bool {
        let is_quiet = self.reader.is_empty() && self.queue.is_empty();
        matches!(self.phase, Phase::Ready) && is_quiet
    }

    /// Whether the server takes another mail on this connection, as far as it is known here.
    pub fn is_reusable(&self) -> bool {
        self.is_idle() && self.offer.mails_max.is_none_or(|most| self.begun < most)
    }

    /// Whether the server may have lost commands that came together.
    pub fn is_pipelining_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether the connection failed where only TLS can be the reason: after STARTTLS, or before
    /// the first reply under TLS, where the server's objections to the handshake come out.
    pub fn is_tls_broken(&self) -> bool {
        self.tls_broken
    }

    /// Transactions begun so far.
    pub fn begun(&self) -> u32 {
        self.begun
    }

    fn level(&self) -> Step {
        match self.phase {
            Phase::Ready => Step::Ready,
            Phase::Content(..) => Step::Content,
            _ => Step::NeedInput,
        }
    }

    fn reply(&mut self, reply: &ServerReply, behind: &[u8], now: Timestamp) {
        if reply.code == 421 && !matches!(self.phase, Phase::Quit) {
            let told = self.host.said(reply);
            return self.end(told);
        }
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Greeting => match reply.class() {
                Class::Positive => self.ehlo(now),
                _ => self.refused(reply),
            },
            Phase::Ehlo => self.ehlo_reply(reply, now),
            Phase::Helo => match reply.class() {
                Class::Positive => self.offered(Offer::default(), now),
                _ => self.refused(reply),
            },
            Phase::StartTls => self.starttls_reply(reply, behind, now),
            Phase::Auth(exchange) => self.auth_reply(reply, exchange, now),
            Phase::Envelope(transaction) => self.envelope_reply(reply, transaction, now),
            Phase::Content(transaction, _) => self.early_reply(reply, transaction),
            Phase::End(mut transaction) => match transaction.final_reply(reply) {
                Next::Broken(why) => self.give_up(transaction, why),
                _ => self.complete(*transaction),
            },
            Phase::Dot(transaction) => self.complete(*transaction),
            Phase::Ready => self.broken(UNASKED),
            Phase::Quit | Phase::Closed | Phase::Handshake => {}
        }
    }

    fn broken(&mut self, why: &str) {
        let told = self.host.judged("4.5.0", format!("{why} ({})", self.place()));
        self.end(told);
    }

    fn close(&mut self, last: Step) {
        self.queue.push_back(last);
        self.phase = Phase::Closed;
    }

    /// Ends the connection, and with it what was begun.
    fn end(&mut self, told: Told) {
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Envelope(transaction) if transaction.is_untouched() && self.begun > 1 => {
                self.close(Step::Stale);
            }
            Phase::Envelope(mut transaction)
            | Phase::Content(mut transaction, _)
            | Phase::End(mut transaction)
            | Phase::Dot(mut transaction) => {
                self.suspect = transaction.is_pipelined() && !told.is_reply;
                self.output.clear();
                transaction.interrupt(&told);
                self.finish(*transaction);
                self.phase = Phase::Closed;
            }
            Phase::Ready | Phase::Quit | Phase::Closed => {}
            opening => {
                self.tls_broken = match opening {
                    Phase::StartTls => true,
                    Phase::Ehlo => self.is_protected(),
                    _ => false,
                };
                self.close(Step::Unavailable(told));
            }
        }
    }

    fn place(&self) -> &'static str {
        match &self.phase {
            Phase::Greeting => "before the greeting",
            Phase::Ehlo => "after EHLO",
            Phase::Helo => "after HELO",
            Phase::StartTls | Phase::Handshake => "after STARTTLS",
            Phase::Auth(_) => "during AUTH",
            Phase::Envelope(transaction) => transaction.place(),
            Phase::Content(..) => "during the content",
            Phase::End(_) => "after the end of the content, so it may have taken the mail",
            Phase::Dot(_) | Phase::Ready | Phase::Quit | Phase::Closed => "between mails",
        }
    }

    fn command(&mut self, line: &str, phase: Phase, now: Timestamp) {
        self.output.extend_from_slice(line.as_bytes());
        self.phase = phase;
        self.wait(self.settings.timeouts.command, now);
    }

    fn wait(&mut self, time: Duration, now: Timestamp) {
        self.deadline = after(now, time).min(self.limit);
    }
}

pub(super) fn after(now: Timestamp, time: Duration) -> Timestamp {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_add(micros))
}
