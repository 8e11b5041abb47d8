//! Delivery reports: what the sender is told of a message that failed, takes longer, arrived, or
//! went to a server that will not tell. A report is a message of three parts: words for people
//! (`words`), the same for programs (`status`), and the message or its header (`returned`). Knows
//! no store: who sends it, and where to, is the caller's. RFC 3461 §6, RFC 3464

mod address;
mod returned;
mod status;
mod words;

pub use returned::{Extent, FULL_BYTES_MAX, HEADER_BYTES_MAX, Original, returns_whole};

use super::schedule::{Action, Moment};
use crate::mail::address::Address;
use crate::mail::date;
use crate::mail::message::{self, Envelope};
use crate::mail::transport::Body;
use crate::smtp::client::Told;
use crate::store::queue::{QueuedEnvelope, QueuedRecipient};

/// Message-IDs in References; those in the middle are left out.
const REFERENCES_MAX: usize = 20;
/// Longest Message-ID that is referred to.
const MESSAGE_ID_BYTES_MAX: usize = 500;
/// Longest Subject that is repeated in ours.
const SUBJECT_BYTES_MAX: usize = 500;
/// Where header lines are folded. RFC 5322 §2.1.1
const LINE_COLUMNS: usize = 76;

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// What was said when the message was accepted.
    pub envelope: &'a QueuedEnvelope,
    /// Bytes of the message.
    pub size_bytes: u64,
    /// Its reverse-path: whom the report is for.
    pub reverse_path: &'a Address,
    /// Its bytes, as far as they are at hand.
    pub original: &'a Original,
    /// When the report is written.
    pub moment: Moment,
}

/// One recipient of a report.
#[derive(Clone, Copy, Debug)]
pub struct Affected<'a> {
    /// Who.
    pub recipient: &'a QueuedRecipient,
    /// What was said.
    pub told: &'a Told,
}

/// A report as a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// All of it, lines with CRLF.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub body: Body,
    /// Its header holds more than ASCII. RFC 6531
    pub smtputf8: bool,
}

/// Writes the report on recipients of one message to whom the same has happened.
pub fn write(about: &About<'_>, action: Action, affected: &[Affected<'_>]) -> Report {
    let boundary = boundary(about);
    let mut out = header(about, action, &boundary).into_bytes();
    let text = words::write(about, action, affected);
    part(&mut out, &boundary, ("text/plain; charset=utf-8", "Notification", text.as_bytes()));
    let (kind, fields) = status::write(about, action, affected);
    part(&mut out, &boundary, (kind, "Delivery report", fields.as_bytes()));
    let (kind, bytes) = returned::part(about, action);
    part(&mut out, &boundary, (kind, description(action), bytes));
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let body = if out.is_ascii() { Body::SevenBit } else { Body::EightBitMime };
    Report { bytes: out, body, smtputf8: !about.reverse_path.to_string().is_ascii() }
}

/// What the returned part is called.
fn description(action: Action) -> &'static str {
    match action {
        Action::Failed | Action::Delayed => "Undelivered message",
        Action::Relayed | Action::Delivered => "Message header",
    }
}

/// It stands in no line of the message that is returned.
fn boundary(about: &About<'_>) -> String {
    let Moment { now, entropy } = about.moment;
    let mut number = entropy;
    loop {
        let boundary = format!("=_report_{:x}_{number:016x}", now.0);
        if memchr::memmem::find(about.original.bytes(), boundary.as_bytes()).is_none() {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}

/// RFC 3464 §2: no reverse-path of its own, so that it causes no report; RFC 3834 §5: no answer
/// from a program either. In-Reply-To puts it beside the message that it is about.
fn header(about: &About<'_>, action: Action, boundary: &str) -> String {
    let About { hostname, envelope, reverse_path, moment, .. } = about;
    let original = message::parse(&about.original.header).envelope;
    let mut out = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\r\n\
         To: <{reverse_path}>\r\n\
         {subject}\r\n\
         Date: {date}\r\n\
         Message-ID: <report.{id}.{now:x}.{entropy:x}@{hostname}>\r\n",
        subject = subject(action, original.subject.as_deref()),
        date = date::rfc5322(moment.now),
        id = envelope.id,
        now = moment.now.0,
        entropy = moment.entropy,
    );
    thread(&mut out, &original);
    out.push_str(&format!(
        "Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"{boundary}\"\r\n\
         \r\n\
         This is a delivery report in MIME format.\r\n"
    ));
    out
}

/// The subject of the message stands in that of the report, if it is short and ASCII, which
/// encoded words are.
fn subject(action: Action, original: Option<&[u8]>) -> String {
    let (prefix, alone) = match action {
        Action::Failed => ("Undeliverable", "Undeliverable mail"),
        Action::Delayed => ("Delayed", "Delayed mail"),
        Action::Relayed => ("Handed on", "Mail was handed on"),
        Action::Delivered => ("Delivered", "Mail was delivered"),
    };
    let plain = |bytes: &&[u8]| {
        !bytes.is_empty()
            && bytes.len() <= SUBJECT_BYTES_MAX
            && bytes.iter().all(|b| matches!(b, b' '..=b'~' | b'\t'))
    };
    let original = original.filter(plain).map(String::from_utf8_lossy);
    match original {
        Some(original) => folded(&format!("Subject: {prefix}: {original}")),
        None => format!("Subject: {alone}"),
    }
}

/// In-Reply-To and References of what answers `original`, as whole lines; nothing where that has no
/// Message-ID that can be written. RFC 5322 §3.6.4
pub fn thread(out: &mut String, original: &Envelope) {
    let is_usable = |id: &str| {
        !id.is_empty()
            && id.len() <= MESSAGE_ID_BYTES_MAX
            && id.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>'))
    };
    let own = original.message_id.as_deref().map(String::from_utf8_lossy);
    let Some(own) = own.as_deref().and_then(|id| id.trim().strip_prefix('<')?.strip_suffix('>'))
    else {
        return;
    };
    if !is_usable(own) {
        return;
    }
    let mut ids: Vec<&str> =
        original.references.iter().map(String::as_str).filter(|id| is_usable(id)).collect();
    ids.push(own);
    if ids.len() > REFERENCES_MAX {
        ids.drain(1..=ids.len() - REFERENCES_MAX);
    }
    let references: Vec<String> = ids.iter().map(|id| format!("<{id}>")).collect();
    out.push_str(&format!("In-Reply-To: <{own}>\r\n"));
    out.push_str(&format!("References: {}\r\n", references.join("\r\n\t")));
}

/// Breaks a header field before words that would stand too far right.
fn folded(field: &str) -> String {
    let mut out = String::new();
    let mut columns = 0;
    for word in field.split(' ') {
        if columns > 0 && columns + 1 + word.len() > LINE_COLUMNS && !word.is_empty() {
            out.push_str("\r\n ");
            columns = 1;
        } else if !out.is_empty() {
            out.push(' ');
            columns += 1;
        }
        out.push_str(word);
        columns += word.len();
    }
    out
}

fn part(out: &mut Vec<u8>, boundary: &str, (kind, description, content): (&str, &str, &[u8])) {
    let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
    let header = format!(
        "--{boundary}\r\n\
         Content-Type: {kind}\r\n\
         Content-Description: {description}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         \r\n"
    );
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
