//! What is computed from a message once, when it arrives: structure, envelope, common header
//! fields, text. Knows no store and no IMAP syntax.
//!
//! `parse` is the door: one linear pass finds the structure (`structure`), then single header
//! blocks and single bounded text parts are read by the other files. mail-parser never sees a whole
//! message, so nesting never reaches it.

mod addresses;
mod attached;
mod binary;
mod encoded_word;
mod envelope;
mod fields;
mod mime;
mod parameters;
mod parse;
mod preview;
mod section;
mod structure;
mod text;
mod transfer;

pub use attached::{
    ATTACHED_PROBE_BYTES, ATTACHED_SOURCE_BYTES_MAX, attached, attached_parts, begins_as_message,
};
pub use binary::{as_lines, loses_nul};
pub use encoded_word::decode as decoded;
pub use envelope::{REFERRED_MAX, message_ids};
pub use fields::{CACHED_FIELDS, are_cached, field_values, select_fields, select_fields_not};
pub use parameters::extended_text;
pub use parse::parse;
pub use preview::{PREVIEW_CHARS_MAX, PREVIEW_SOURCE_BYTES_MAX, preview_of, preview_parts};
pub use section::{SectionText, part_at, section};
pub use text::{SEARCH_TEXT_BYTES_MAX, fields_of_parts, own_fields};
pub use transfer::{Decoder, Encoding};

use serde::{Deserialize, Serialize};

use crate::mail::address::Address;

/// Everything that later commands need of a message without reading it again.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Parsed {
    /// The envelope fields, as IMAP shows them.
    pub envelope: Envelope,
    /// The MIME tree; offsets count from the first byte of the stored message.
    pub structure: Part,
    /// The raw header fields that mail programs list (`CACHED_FIELDS`), in their order, each with
    /// its line end, without the empty line at the end.
    pub fields: Vec<u8>,
    /// Decoded text of the header and of the text parts, folded for SEARCH; see `fold`.
    pub text: SearchText,
    /// The first words of its text; empty where there are none. RFC 8970
    pub preview: String,
}

/// Folded text, apart so that SEARCH BODY does not match in the header. RFC 3501 §6.4.4
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct SearchText {
    /// Decoded, unfolded and case-folded header fields, a line each: `name: value`. Behind an empty
    /// line, the same of all parts, for SEARCH TEXT only: see `own_fields`. RFC 9051 §6.4.4
    pub header: String,
    /// Decoded and case-folded text of all text parts.
    pub body: String,
}

/// ENVELOPE: values are raw bytes as they stand in the header (RFC 2047 not decoded), unfolded.
/// RFC 3501 §7.4.2
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Envelope {
    /// Date: as written.
    pub date: Option<Vec<u8>>,
    /// Date: in microseconds since 1970, for SENTBEFORE and its like; local date, zone ignored, is
    /// `date_day`.
    pub date_micros: Option<i64>,
    /// Day of the Date: field in its own zone, as days since 1970-01-01.
    pub date_day: Option<i32>,
    /// Subject:
    pub subject: Option<Vec<u8>>,
    /// From:
    pub from: Vec<EnvelopeAddress>,
    /// Sender:, or From: where it is missing.
    pub sender: Vec<EnvelopeAddress>,
    /// Reply-To:, or From: where it is missing.
    pub reply_to: Vec<EnvelopeAddress>,
    /// To:
    pub to: Vec<EnvelopeAddress>,
    /// Cc:
    pub cc: Vec<EnvelopeAddress>,
    /// Bcc:
    pub bcc: Vec<EnvelopeAddress>,
    /// In-Reply-To:
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID:
    pub message_id: Option<Vec<u8>>,
    /// References:, each id without angle brackets, oldest first; at most 100.
    pub references: Vec<String>,
}

impl EnvelopeAddress {
    /// As an address; `None` for the marks of a group and for what has no domain.
    pub fn address(&self) -> Option<Address> {
        let part = |bytes: &Option<Vec<u8>>| {
            let text = String::from_utf8(bytes.clone()?).ok()?;
            (!text.is_empty()).then_some(text)
        };
        Some(Address::new(&part(&self.mailbox)?, &part(&self.host)?))
    }
}

/// One address of an envelope, or the start (`host` absent, `mailbox` the group's name) or end
/// (both absent) of a group. RFC 3501 §7.4.2
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EnvelopeAddress {
    /// Display name, raw.
    pub name: Option<Vec<u8>>,
    /// Local part, or group name.
    pub mailbox: Option<Vec<u8>>,
    /// Domain.
    pub host: Option<Vec<u8>>,
}

/// Parameters of a MIME field: names upper case, values as bytes.
pub type Parameters = Vec<(String, Vec<u8>)>;

/// One part of the MIME tree. RFC 3501 §7.4.2 `BODYSTRUCTURE`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Part {
    /// Top-level media type, upper case: `TEXT`.
    pub media_type: String,
    /// Subtype, upper case: `PLAIN`.
    pub subtype: String,
    /// Parameters of Content-Type:, names upper case, values as bytes (RFC 2231 sections joined).
    pub parameters: Parameters,
    /// Content-ID:
    pub id: Option<Vec<u8>>,
    /// Content-Description:
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding:, upper case; `7BIT` where it is missing.
    pub encoding: String,
    /// Content-MD5:
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition: with its parameters.
    pub disposition: Option<(String, Parameters)>,
    /// Content-Language:
    pub language: Vec<Vec<u8>>,
    /// Content-Location:
    pub location: Option<Vec<u8>>,
    /// Where the part's header starts.
    pub header_start: u64,
    /// Where its body starts: behind the empty line.
    pub body_start: u64,
    /// Where its body ends: before the line end that belongs to the boundary.
    pub body_end: u64,
    /// Lines of the body.
    pub lines: u64,
    /// What is inside.
    pub content: Content,
}

impl Part {
    /// Bytes of the body as it stands, transfer encoding included.
    pub fn body_bytes(&self) -> u64 {
        self.body_end.saturating_sub(self.body_start)
    }
}

/// What a part holds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub enum Content {
    /// Bytes: text, image and the like.
    #[default]
    Leaf,
    /// multipart/*: at least one part.
    Multipart(Vec<Part>),
    /// message/rfc822 or message/global (not transfer-encoded): its envelope and its top part.
    Message(Box<Envelope>, Box<Part>),
}
