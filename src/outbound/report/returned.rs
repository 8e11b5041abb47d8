//! The part of a report that returns the message or its header. RFC 3461 §4.3, RFC 6522 §3,
//! RFC 6533 §4

use super::About;
use crate::mail::transport::Ret;
use crate::outbound::schedule::Action;
use crate::store::queue::QueuedEnvelope;

/// Longest message that is returned as a whole; of a longer one the header is.
pub const FULL_BYTES_MAX: u64 = 100 * 1024;
/// Bytes of a header that are returned; what follows is left out.
pub const HEADER_BYTES_MAX: u64 = 64 * 1024;

/// The message that a report is about, its trace first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Original {
    /// Its header, the empty line not included.
    pub header: Vec<u8>,
    /// All of it, where it is to be returned.
    pub whole: Option<Vec<u8>>,
}

impl Original {
    /// From the message's first bytes; `Whole` when these are all and are to be returned.
    pub fn new(bytes: Vec<u8>, extent: Extent) -> Original {
        let mut header = header(&bytes).to_vec();
        if !header.is_empty() && !header.ends_with(b"\n") {
            header.extend_from_slice(b"\r\n");
        }
        let whole = (extent == Extent::Whole).then_some(bytes);
        Original { header, whole }
    }

    /// All that may be returned.
    pub(super) fn bytes(&self) -> &[u8] {
        self.whole.as_deref().unwrap_or(&self.header)
    }
}

/// How much of a message there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// Enough for the header.
    Head,
    /// All.
    Whole,
}

/// The lines before the first empty one.
fn header(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
        if matches!(&bytes[at..at + length], b"" | b"\r") {
            return &bytes[..at];
        }
        at += length + 1;
    }
    // A line that is cut would end in the middle of a field, or of a character.
    if at > 0 { &bytes[..at] } else { bytes }
}

/// How much of a message its reports return. RFC 3461 §4.3: what is not asked for is our choice,
/// and the header is enough to know the message by.
pub fn returns_whole(envelope: &QueuedEnvelope, size_bytes: u64, action: Action) -> Extent {
    let whole =
        action == Action::Failed && envelope.ret == Some(Ret::Full) && size_bytes <= FULL_BYTES_MAX;
    if whole { Extent::Whole } else { Extent::Head }
}

/// Content-Type and content.
pub(super) fn part<'a>(about: &About<'a>, action: Action) -> (&'static str, &'a [u8]) {
    let original: &'a Original = about.original;
    let header = &original.header;
    let is_utf8 = !header.is_ascii() && std::str::from_utf8(header).is_ok();
    match (&original.whole, returns_whole(about.envelope, about.size_bytes, action)) {
        (Some(whole), Extent::Whole) if is_utf8 => ("message/global", whole),
        (Some(whole), Extent::Whole) => ("message/rfc822", whole),
        _ if is_utf8 => ("message/global-headers", header),
        _ => ("text/rfc822-headers", header),
    }
}
