//! One mail: which command goes out when, and what its reply means for whom. RFC 5321 §3.3
//!
//! With PIPELINING, MAIL, all RCPT and DATA go out together, as far as `PIPELINE_BYTES_MAX` allows;
//! each reply is matched to its command by counting. RFC 2920 §3.1

use std::collections::VecDeque;
use std::time::Duration;

use super::command::{self, is_ascii};
use super::fate::{self, Host};
use super::reply::{Class, ServerReply};
use super::{Fate, Mail, Offer, PIPELINE_BYTES_MAX, Timeouts, Told, Verification};
use crate::mail::transport::Body;

/// What a transaction is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// The recipients get the mail.
    Deliver,
    /// The server says whether the one recipient could.
    Verify,
}

/// How it is to be done.
pub(super) struct Terms {
    pub(super) aim: Aim,
    pub(super) host: Host,
    pub(super) offer: Offer,
    pub(super) pipelining: bool,
    /// The transaction before it was left open.
    pub(super) reset: bool,
}

/// What happens after a reply.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// More replies are awaited.
    Envelope,
    /// The content may go out. Never without 354.
    Content,
    /// 354, but nobody is there to get the content: a single dot. RFC 2920 §3.1
    Dot,
    /// Everything is decided.
    Over,
    /// The server does not speak SMTP.
    Broken(&'static str),
}

/// One mail on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    aim: Aim,
    host: Host,
    pipelining: bool,
    /// What is still to be sent.
    plan: VecDeque<Planned>,
    /// What was sent and is not replied to, with the bytes of each.
    awaited: VecDeque<(Command, usize)>,
    mail: Reverse,
    recipients: Vec<Recipient>,
}

#[derive(Debug)]
struct Planned {
    command: Command,
    line: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Command {
    Rset,
    Mail,
    Rcpt(usize),
    Data,
}

/// What was said to MAIL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reverse {
    Awaited,
    Accepted,
    Refused,
}

/// How far a recipient has come.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Recipient {
    Awaited,
    Accepted(Told),
    Decided(Fate),
}

impl Transaction {
    /// Plans the commands. Whoever the server cannot serve is decided before a word is said.
    pub(super) fn new(mail: &Mail, terms: Terms) -> Transaction {
        let Terms { aim, host, offer, pipelining, reset } = terms;
        let mut transaction = Transaction {
            aim,
            host,
            pipelining,
            plan: VecDeque::new(),
            awaited: VecDeque::new(),
            mail: Reverse::Awaited,
            recipients: vec![Recipient::Awaited; mail.recipients.len()],
        };
        if reset {
            transaction.plan(Command::Rset, "RSET\r\n".to_owned());
        }
        match unfit(mail, &offer) {
            Some((status, text)) => transaction.fail_all(status, text),
            None => transaction.plan_envelope(mail, &offer),
        }
        if !transaction.recipients.contains(&Recipient::Awaited) {
            transaction.plan.clear();
        }
        transaction
    }

    fn plan_envelope(&mut self, mail: &Mail, offer: &Offer) {
        let beyond_ascii = mail.recipients.iter().any(|r| !is_ascii(&r.address));
        let utf8 = offer.smtputf8 && (needs_utf8(mail) || beyond_ascii);
        let Some(line) = command::mail(mail, offer, utf8) else {
            return self.fail_all("5.1.7", "the sender's address is not valid");
        };
        self.plan(Command::Mail, line);
        for (n, recipient) in mail.recipients.iter().enumerate() {
            let line = command::rcpt(recipient, offer, utf8);
            match line {
                _ if !is_ascii(&recipient.address) && !utf8 => {
                    self.recipients[n] = self.failed("5.6.7", NO_SMTPUTF8);
                }
                Some(line) => self.plan(Command::Rcpt(n), line),
                None => {
                    let text = "the recipient's address is not valid";
                    self.recipients[n] = self.failed("5.1.3", text);
                }
            }
        }
        self.defer_beyond(offer.recipients_max);
        if self.aim == Aim::Deliver {
            self.plan(Command::Data, "DATA\r\n".to_owned());
        }
    }

    /// The server has said how many recipients it takes at a time. RFC 9422 §4.2
    fn defer_beyond(&mut self, most: Option<usize>) {
        let Some(most) = most else { return };
        let mut room = most;
        let host = &self.host;
        let recipients = &mut self.recipients;
        self.plan.retain(|planned| {
            let Command::Rcpt(n) = planned.command else { return true };
            let fits = room > 0;
            room = room.saturating_sub(1);
            if !fits {
                let text = "more recipients than the server takes at a time";
                let told = host.judged(fate::TOO_MANY_RECIPIENTS, text);
                recipients[n] = Recipient::Decided(Fate::Deferred(told));
            }
            fits
        });
    }

    /// Appends what may be sent now.
    pub(super) fn pump(&mut self, out: &mut Vec<u8>) {
        while let Some(next) = self.plan.front() {
            let waiting: usize = self.awaited.iter().map(|(_, bytes)| bytes).sum();
            let fits = self.pipelining && waiting + next.line.len() <= PIPELINE_BYTES_MAX;
            if !self.awaited.is_empty() && !fits {
                return;
            }
            out.extend_from_slice(next.line.as_bytes());
            let sent = (next.command, next.line.len());
            self.awaited.push_back(sent);
            self.plan.pop_front();
        }
    }

    /// Takes the reply to the command that was sent first.
    pub(super) fn reply(&mut self, reply: &ServerReply) -> Next {
        let Some((command, _)) = self.awaited.pop_front() else {
            return Next::Broken(UNASKED);
        };
        let next = match command {
            Command::Rset if reply.class() != Class::Positive => Next::Broken(ODD_REPLY),
            Command::Rset => Next::Envelope,
            Command::Mail => self.mail_reply(reply),
            Command::Rcpt(n) => self.rcpt_reply(n, reply),
            Command::Data => return self.data_reply(reply),
        };
        let only_data = self.plan.front().is_some_and(|next| next.command == Command::Data);
        if only_data && self.awaited.is_empty() && self.accepted() == 0 {
            self.plan.clear();
        }
        if next == Next::Envelope && self.is_over() { Next::Over } else { next }
    }

    /// Takes the reply to the content. RFC 5321 §4.1.1.4
    pub(super) fn final_reply(&mut self, reply: &ServerReply) -> Next {
        match reply.class() {
            Class::Positive => self.decide_accepted(Fate::Delivered(self.host.said(reply))),
            Class::Intermediate => return Next::Broken(ODD_REPLY),
            Class::Transient | Class::Permanent => {
                self.decide_accepted(fate::refused(&self.host, reply));
            }
        }
        Next::Over
    }

    /// Nothing more will come: who is not decided is deferred.
    pub(super) fn interrupt(&mut self, told: &Told) {
        for recipient in &mut self.recipients {
            if !matches!(recipient, Recipient::Decided(_)) {
                *recipient = Recipient::Decided(Fate::Deferred(told.clone()));
            }
        }
    }

    /// Whether the server has said nothing to it.
    pub(super) fn is_untouched(&self) -> bool {
        self.mail == Reverse::Awaited
    }

    /// Whether replies to several commands are awaited.
    pub(super) fn is_pipelined(&self) -> bool {
        self.awaited.len() > 1
    }

    /// Whether all is decided without a word.
    pub(super) fn is_over(&self) -> bool {
        self.plan.is_empty() && self.awaited.is_empty()
    }

    /// How long the next reply may take.
    pub(super) fn patience(&self, timeouts: &Timeouts) -> Duration {
        match self.awaited.front() {
            Some((Command::Rcpt(_), _)) => timeouts.recipient,
            Some((Command::Data, _)) => timeouts.data,
            Some((Command::Rset | Command::Mail, _)) | None => timeouts.mail,
        }
    }

    /// What the next reply is awaited for.
    pub(super) fn place(&self) -> &'static str {
        match self.awaited.front() {
            Some((Command::Rset, _)) => "after RSET",
            Some((Command::Rcpt(_), _)) => "after RCPT",
            Some((Command::Data, _)) => "after DATA",
            Some((Command::Mail, _)) | None => "after MAIL",
        }
    }

    /// What it is for.
    pub(super) fn aim(&self) -> Aim {
        self.aim
    }

    /// The fates, in the order of the recipients.
    pub(super) fn fates(self) -> Vec<Fate> {
        let fate = |recipient| match recipient {
            Recipient::Decided(fate) => fate,
            Recipient::Accepted(told) => Fate::Deferred(told),
            Recipient::Awaited => Fate::Deferred(self.host.judged("4.0.0", "not tried")),
        };
        self.recipients.into_iter().map(fate).collect()
    }

    /// What was found out. A refusal of the sender says nothing about the recipient.
    pub(super) fn verification(self) -> Verification {
        let sender_refused = self.mail == Reverse::Refused;
        match self.recipients.into_iter().next() {
            Some(Recipient::Accepted(told)) => Verification::Accepted(told),
            Some(Recipient::Decided(Fate::Failed(told))) if !sender_refused => {
                Verification::Refused(told)
            }
            Some(Recipient::Decided(fate)) => Verification::Unknown(fate.told()),
            Some(Recipient::Awaited) | None => {
                Verification::Unknown(self.host.judged("4.0.0", "not asked"))
            }
        }
    }

    fn mail_reply(&mut self, reply: &ServerReply) -> Next {
        match reply.class() {
            Class::Positive => self.mail = Reverse::Accepted,
            Class::Intermediate => return Next::Broken(ODD_REPLY),
            Class::Transient | Class::Permanent => {
                self.mail = Reverse::Refused;
                self.plan.clear();
                let refused = fate::refused(&self.host, reply);
                for recipient in self.recipients.iter_mut().filter(|r| **r == Recipient::Awaited) {
                    *recipient = Recipient::Decided(refused.clone());
                }
            }
        }
        Next::Envelope
    }

    fn rcpt_reply(&mut self, n: usize, reply: &ServerReply) -> Next {
        // What is said about recipients of a mail that was refused decides nothing.
        if self.mail == Reverse::Refused {
            return Next::Envelope;
        }
        self.recipients[n] = match reply.class() {
            Class::Positive => Recipient::Accepted(self.host.said(reply)),
            Class::Intermediate => return Next::Broken(ODD_REPLY),
            Class::Transient | Class::Permanent => {
                let accepted = self.accepted();
                Recipient::Decided(fate::recipient_refused(&self.host, reply, accepted))
            }
        };
        Next::Envelope
    }

    fn data_reply(&mut self, reply: &ServerReply) -> Next {
        let accepted = self.accepted();
        match (reply.code, reply.class()) {
            // It would take an empty mail from a sender that it has refused.
            (354, _) if self.mail == Reverse::Refused => Next::Broken(ODD_REPLY),
            (354, _) if accepted == 0 => Next::Dot,
            (354, _) => Next::Content,
            (_, Class::Positive | Class::Intermediate) => Next::Broken(ODD_REPLY),
            _ => {
                self.decide_accepted(fate::refused(&self.host, reply));
                Next::Over
            }
        }
    }

    fn plan(&mut self, command: Command, line: String) {
        self.plan.push_back(Planned { command, line });
    }

    fn accepted(&self) -> usize {
        self.recipients.iter().filter(|r| matches!(r, Recipient::Accepted(_))).count()
    }

    fn decide_accepted(&mut self, fate: Fate) {
        for recipient in &mut self.recipients {
            if matches!(recipient, Recipient::Accepted(_)) {
                *recipient = Recipient::Decided(fate.clone());
            }
        }
    }

    fn failed(&self, status: &str, text: &str) -> Recipient {
        Recipient::Decided(Fate::Failed(self.host.judged(status, text)))
    }

    fn fail_all(&mut self, status: &str, text: &str) {
        self.plan.clear();
        let failed = self.failed(status, text);
        self.recipients.fill(failed);
    }
}

/// The server answered what was not asked.
pub(super) const UNASKED: &str = "the server replied to nothing";
/// The server answered what makes no sense at this point.
pub(super) const ODD_REPLY: &str = "the server's reply makes no sense here";

const NO_SMTPUTF8: &str =
    "the mail has addresses or header fields beyond ASCII; the server does not offer SMTPUTF8";

/// Why no recipient at all can get this mail from such a server.
fn unfit(mail: &Mail, offer: &Offer) -> Option<(&'static str, &'static str)> {
    // RFC 1870 §6.1
    if offer.size.flatten().is_some_and(|most| mail.size_bytes > most) {
        return Some(("5.3.4", "the mail is larger than what the server takes"));
    }
    // RFC 6531 §3.5
    if needs_utf8(mail) && !offer.smtputf8 {
        return Some(("5.6.7", NO_SMTPUTF8));
    }
    // RFC 6152 §3; deliberately not converted, see the module's head.
    if mail.body == Body::EightBitMime && !offer.eight_bit {
        let text = "the mail has octets beyond ASCII; the server does not offer 8BITMIME";
        return Some(("5.6.3", text));
    }
    None
}

/// Whether the mail as a whole needs it, whoever its recipients are.
fn needs_utf8(mail: &Mail) -> bool {
    mail.smtputf8 || mail.reverse_path.as_ref().is_some_and(|address| !is_ascii(address))
}
