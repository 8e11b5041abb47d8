//! The other side of SMTP: we send, another server receives. Pure: bytes in, steps out; knows no
//! socket, no store and no DNS.

use crate::mail::address::Address;
use crate::mail::transport::{Body, Notify, Ret};

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

/// Recipients of one transaction: what each server must take. RFC 5321 §4.5.3.1.8
pub const RECIPIENTS_PER_MAIL_MAX: usize = 100;
