//! Identifiers that are the same wherever, and under whatever name, a mailbox or message shows up.
//! Knows no command. RFC 8474

use super::Refusal;
use super::wire::lex::Cursor;
use crate::mail::id::{BlobId, MailboxId, ThreadId, TraceId};
use crate::store::snapshot::Entry;

/// Longest identifier. RFC 8474 §7
const OBJECT_ID_BYTES_MAX: usize = 255;

/// MAILBOXID: stays over a rename. RFC 8474 §4
pub fn mailbox(id: MailboxId) -> String {
    format!("f{:x}", id.0)
}

/// EMAILID: all instances with one and the same content, which COPY and MOVE make. RFC 8474 §5.1
///
/// What can be fetched and never changes must be the same, so that one stored message with the
/// trace fields of two inboxes is two of them, and so is one that was appended with two dates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EmailId {
    blob: BlobId,
    origin: Origin,
}

/// How a message came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// With trace fields, which belong to one delivery.
    Delivered(TraceId),
    /// By APPEND, with an INTERNALDATE.
    Appended { seconds: i64, thread: ThreadId },
}

impl EmailId {
    /// Of an instance.
    pub fn of(entry: &Entry) -> EmailId {
        let appended =
            Origin::Appended { seconds: entry.internal_date.seconds(), thread: entry.thread };
        let origin =
            if entry.trace == TraceId::NONE { appended } else { Origin::Delivered(entry.trace) };
        EmailId { blob: entry.blob, origin }
    }

    /// Reads what `Display` writes; `None` for what names no message of ours.
    pub fn parse(text: &str) -> Option<EmailId> {
        let parts: Vec<&str> = text.strip_prefix('m')?.split('-').collect();
        let origin = match parts[..] {
            [_, trace] => Origin::Delivered(TraceId(hex(trace)?)),
            [_, seconds, thread] => {
                Origin::Appended { seconds: hex(seconds)?, thread: parse_thread(thread)? }
            }
            _ => return None,
        };
        let id = EmailId { blob: BlobId(hex(parts[0])?), origin };
        // there is one way to write it
        (id.to_string() == text).then_some(id)
    }
}

impl std::fmt::Display for EmailId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blob = self.blob.0;
        match self.origin {
            Origin::Delivered(trace) => write!(f, "m{blob:x}-{:x}", trace.0),
            Origin::Appended { seconds, thread: of } => {
                write!(f, "m{blob:x}-{seconds:x}-{}", thread(of))
            }
        }
    }
}

/// THREADID. RFC 8474 §5.2
pub fn thread(id: ThreadId) -> String {
    let prefix = if id.0 < 0 { "s" } else { "t" };
    format!("{prefix}{:x}", id.0.unsigned_abs())
}

/// Reads what `thread` writes; `None` for what names no thread of ours.
pub fn parse_thread(text: &str) -> Option<ThreadId> {
    let id = match text.strip_prefix('s') {
        Some(digits) => ThreadId(hex(digits)?.checked_neg()?),
        None => ThreadId(hex(text.strip_prefix('t')?)?),
    };
    (thread(id) == text).then_some(id)
}

/// `objectid`, as a client names one. RFC 8474 §7
pub fn object_id<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Refusal> {
    let start = cursor.clone();
    let what = "an object identifier of at most 255 characters";
    let is_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let bytes = cursor.take_while(what, is_char)?;
    let text = std::str::from_utf8(bytes).ok().filter(|t| t.len() <= OBJECT_ID_BYTES_MAX);
    text.ok_or_else(|| start.expected(what))
}

/// As `{:x}` writes an `i64`.
fn hex(digits: &str) -> Option<i64> {
    u64::from_str_radix(digits, 16).ok().map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_as_they_are_written() {
        let appended = |seconds, thread| Origin::Appended { seconds, thread: ThreadId(thread) };
        let origins = [Origin::Delivered(TraceId(255)), appended(1, 17), appended(-1, -9)];
        for origin in origins {
            let id = EmailId { blob: BlobId(4711), origin };
            assert_eq!(EmailId::parse(&id.to_string()), Some(id), "{id}");
        }
        for id in [1, 16, i64::MAX, -1, i64::MIN + 1].map(ThreadId) {
            assert_eq!(parse_thread(&thread(id)), Some(id));
        }
    }

    #[test]
    fn what_is_written_otherwise_names_nothing() {
        for text in ["", "m", "m1", "M1-2", "m01-2", "m1-2-3", "m1-2-t3-4", "m1-A", "m-1", "nil"] {
            assert_eq!(EmailId::parse(text), None, "{text}");
        }
        for text in ["", "t", "1", "T1", "t01", "t-1", "s0", "tA", "s8000000000000000"] {
            assert_eq!(parse_thread(text), None, "{text}");
        }
    }

    #[test]
    fn an_identifier_has_at_most_so_many_characters() {
        let read = |text: &str| object_id(&mut Cursor::new(text.as_bytes())).map(str::to_owned);
        let longest = "x".repeat(OBJECT_ID_BYTES_MAX);
        assert_eq!(read(&longest), Ok(longest.clone()));
        assert!(read(&format!("{longest}x")).is_err());
        assert!(read("(x)").is_err());
        assert_eq!(read("a_B-9)"), Ok("a_B-9".to_owned()));
    }
}
