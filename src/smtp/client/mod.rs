//! The other side of SMTP: we send, another server receives. Pure: bytes and the time go in, steps
//! come out; knows no socket, no store and no DNS. The driver is `server/relay/`.
//!
//! | file | what it decides |
//! |---|---|
//! | `reply` | where a reply ends, and what it says |
//! | `offer` | what the answer to EHLO offers |
//! | `session` | the connection: greeting, STARTTLS, AUTH, one mail after another |
//! | `login` | the exchange of AUTH |
//! | `transaction` | one mail: MAIL, RCPT, DATA, and what each reply means for each recipient |
//! | `command` | how MAIL and RCPT are written |
//! | `stuffing` | the content on the wire |
//! | `fate` | reply → fate |
//!
//! # Content that the server does not take
//!
//! A message with octets beyond ASCII is not converted for a server without 8BITMIME: it fails with
//! 5.6.3. RFC 6152 §3 leaves the choice between converting and failing; Postfix and Sendmail
//! convert to quoted-printable, Exim sends it as it is. Deliberately not converted: it would
//! break every DKIM signature, ours included, for servers that hardly exist any more.
//!
//! Lines of more than 998 octets are sent as they are, for the same reason. RFC 5321 §4.5.3.1.6

mod command;
mod fate;
mod login;
pub mod offer;
pub mod reply;
mod session;
pub mod stuffing;
mod transaction;

use std::time::Duration;

pub use login::{Credentials, PlainLogin};
pub use offer::Offer;
pub use session::{Lost, Pipelining, Session, Settings, Step, Tls};

use crate::mail::address::Address;
use crate::mail::transport::{Body, Notify, Ret};

/// Recipients of one transaction: what each server must take. RFC 5321 §4.5.3.1.8
pub const RECIPIENTS_PER_MAIL_MAX: usize = 100;
/// Bytes of commands whose replies are awaited: they and their replies fit into the smallest
/// buffers of TCP, so that neither side waits for the other to read. RFC 2920 §3.1
pub const PIPELINE_BYTES_MAX: usize = 4 * 1024;
/// Longest `Told::text`; a longer one is cut.
pub const TOLD_BYTES_MAX: usize = 500;
/// Longest AUTH command line with an initial response. RFC 4954 §4, RFC 5321 §4.5.3.1.4
pub const AUTH_LINE_BYTES_MAX: usize = 512;

/// One message for one server: the recipients that go over the same hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// MAIL FROM; `None` is the null reverse-path.
    pub reverse_path: Option<Address>,
    /// RCPT TO; never empty.
    pub recipients: Vec<MailRecipient>,
    /// ENVID, encoded as it came. RFC 3461 §4.4
    pub envid: Option<String>,
    /// RET. RFC 3461 §4.3
    pub ret: Option<Ret>,
    /// What the content holds.
    pub body: Body,
    /// Needs SMTPUTF8. RFC 6531
    pub smtputf8: bool,
    /// Bytes of the content as stored (before dot-stuffing).
    pub size_bytes: u64,
}

/// A recipient on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailRecipient {
    /// RCPT TO
    pub address: Address,
    /// NOTIFY. RFC 3461 §4.1
    pub notify: Option<Notify>,
    /// ORCPT, encoded as it came. RFC 3461 §4.2
    pub orcpt: Option<String>,
}

/// What came of one recipient in an attempt. `reply` is for the operator and for reports: the
/// server's own words (`code enhanced text`), or ours when there was none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The server has taken responsibility for it.
    Delivered(Told),
    /// To be tried again.
    Deferred(Told),
    /// Never to be tried again.
    Failed(Told),
}

impl Fate {
    /// What was said.
    pub fn told(self) -> Told {
        match self {
            Fate::Delivered(told) | Fate::Deferred(told) | Fate::Failed(told) => told,
        }
    }

    /// Whether the server would have taken it in a transaction with fewer recipients: the rest is
    /// to be sent in the next one, at once. RFC 5321 §4.5.3.1.10
    pub fn is_one_too_many(&self) -> bool {
        matches!(self, Fate::Deferred(told) if told.status == fate::TOO_MANY_RECIPIENTS)
    }
}

/// What was said, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// The server's name; empty when none was reached.
    pub by: String,
    /// Enhanced status code, as told or by our own judgement. RFC 3463
    pub status: String,
    /// The reply in one line: `550 5.1.1 No such user`; or why there was none.
    pub text: String,
    /// Whether `text` is a server's reply, rather than our own words.
    pub is_reply: bool,
    /// The server announced DSN, so that it will report a success itself. RFC 3461 §5.2.2
    pub dsn: bool,
}

/// Whether a server would take mail for a recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verification {
    /// It would.
    Accepted(Told),
    /// It would not, and never will.
    Refused(Told),
    /// It did not say: it could not be reached, or wants to be asked later.
    Unknown(Told),
}

/// How long each answer may take. RFC 5321 §4.5.3.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// The greeting. RFC 5321 §4.5.3.2.1
    pub greeting: Duration,
    /// EHLO, STARTTLS and the lines of AUTH.
    pub command: Duration,
    /// MAIL. RFC 5321 §4.5.3.2.2
    pub mail: Duration,
    /// RCPT. RFC 5321 §4.5.3.2.3
    pub recipient: Duration,
    /// DATA. RFC 5321 §4.5.3.2.4
    pub data: Duration,
    /// Until the server has taken one block of content. RFC 5321 §4.5.3.2.5
    pub block: Duration,
    /// The final reply. RFC 5321 §4.5.3.2.6
    pub end: Duration,
    /// The first reply on a connection that was idle; none comes when it is dead.
    pub reuse: Duration,
    /// QUIT: the mail is done, nobody waits for this.
    pub quit: Duration,
    /// From the connection to the first mail, however many answers that takes.
    pub opening: Duration,
    /// One mail, from MAIL to the end of its content, and what `CONTENT_BYTES_PER_SEC_LEAST` adds:
    /// a server that gives each answer just in time holds nobody for longer.
    pub transaction: Duration,
}

/// A server that takes content at this speed, or faster, is never cut off for its slowness.
pub const CONTENT_BYTES_PER_SEC_LEAST: u64 = 32 * 1024;

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            greeting: Duration::from_secs(300),
            command: Duration::from_secs(300),
            mail: Duration::from_secs(300),
            recipient: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            end: Duration::from_secs(600),
            reuse: Duration::from_secs(30),
            quit: Duration::from_secs(5),
            opening: Duration::from_secs(10 * 60),
            transaction: Duration::from_secs(30 * 60),
        }
    }
}
