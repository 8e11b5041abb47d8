//! What the header block of one part says about it: the `Content-*` fields. RFC 2045. Knows no
//! other part but the kind of container it is in.

use super::fields::{fields, unfold};
use super::parameters::{Cursor, is_token, parameters};
use super::parse::Budget;
use super::{Parameters, Part};

/// A longer boundary is none. RFC 2046 §5.1.1 allows 70.
pub(super) const BOUNDARY_BYTES_MAX: usize = 1000;
/// Languages of one part; those beyond are left out.
const LANGUAGES_MAX: usize = 32;

/// What a part is that does not say so.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum DefaultType {
    /// RFC 2045 §5.2
    Text,
    /// Inside multipart/digest. RFC 2046 §5.1.5
    Message,
}

/// What a part's type asks the walk to do.
pub(super) enum Kind {
    /// With its boundary.
    Multipart(Vec<u8>),
    /// message/rfc822 or message/global that is not transfer-encoded.
    Message,
    /// Everything else.
    Leaf,
}

/// A part without offsets and content, from its header block.
pub(super) fn describe(header: &[u8], default: DefaultType, budget: &mut Budget) -> Part {
    let mut part = Part { encoding: String::from("7BIT"), ..Part::default() };
    let mut encoded = false;
    let known = |field: &super::fields::Field<'_>| {
        field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
    };
    for field in fields(header).filter(known) {
        match field.name[8..].to_ascii_lowercase().as_slice() {
            b"type" if part.media_type.is_empty() => media_type(field.value, &mut part, budget),
            b"transfer-encoding" if !encoded => {
                encoded = true;
                part.encoding = Cursor::new(&unfold(field.value)).token().unwrap_or(part.encoding);
            }
            b"disposition" if part.disposition.is_none() => {
                part.disposition = disposition(field.value, budget);
            }
            b"id" => first(&mut part.id, field.value),
            b"description" => first(&mut part.description, field.value),
            b"md5" => first(&mut part.md5, field.value),
            b"location" => first(&mut part.location, field.value),
            b"language" if part.language.is_empty() => part.language = languages(field.value),
            _ => {}
        }
    }
    if part.media_type.is_empty() {
        match default {
            DefaultType::Text => become_text(&mut part),
            DefaultType::Message => retype(&mut part, "MESSAGE", "RFC822"),
        }
    }
    settle(&mut part);
    part
}

/// What the walk does with a part.
pub(super) fn kind(part: &Part) -> Kind {
    match part.media_type.as_str() {
        "MULTIPART" => boundary(part).map_or(Kind::Leaf, Kind::Multipart),
        "MESSAGE" if is_message(part) && !is_encoded(part) => Kind::Message,
        _ => Kind::Leaf,
    }
}

/// RFC 6532 §3.7
fn is_message(part: &Part) -> bool {
    matches!(part.subtype.as_str(), "RFC822" | "GLOBAL")
}

fn is_encoded(part: &Part) -> bool {
    !matches!(part.encoding.as_str(), "7BIT" | "8BIT" | "BINARY")
}

/// What parts inside this multipart are by default.
pub(super) fn default_inside(part: &Part) -> DefaultType {
    if part.subtype == "DIGEST" { DefaultType::Message } else { DefaultType::Text }
}

/// text/plain in US-ASCII: what a part without a valid type is (RFC 2045 §5.2), and a multipart
/// whose boundary never appears, so that its body can still be read as part 1.
pub(super) fn become_text(part: &mut Part) {
    retype(part, "TEXT", "PLAIN");
    part.parameters = vec![(String::from("CHARSET"), b"us-ascii".to_vec())];
}

/// application/octet-stream: what a container is that is not looked into.
pub(super) fn become_octets(part: &mut Part) {
    retype(part, "APPLICATION", "OCTET-STREAM");
}

fn retype(part: &mut Part, media_type: &str, subtype: &str) {
    part.media_type = String::from(media_type);
    part.subtype = String::from(subtype);
    part.parameters = Vec::new();
}

/// A container that cannot be looked into must not be called one: in BODYSTRUCTURE multipart means
/// parts and message/rfc822 means an envelope. RFC 3501 §7.4.2. message/global may be encoded, and
/// means one in IMAP4rev2 only: who writes it decides. RFC 6532 §3.7
fn settle(part: &mut Part) {
    match part.media_type.as_str() {
        "MULTIPART" if boundary(part).is_none() => become_text(part),
        "MESSAGE" if part.subtype == "RFC822" && is_encoded(part) => become_octets(part),
        _ => {}
    }
}

fn boundary(part: &Part) -> Option<Vec<u8>> {
    let (_, boundary) = part.parameters.iter().find(|(name, _)| name == "BOUNDARY")?;
    let boundary = boundary.trim_ascii_end();
    let usable = !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX;
    usable.then(|| boundary.to_vec())
}

fn media_type(value: &[u8], part: &mut Part, budget: &mut Budget) {
    let value = unfold(value);
    let mut cursor = Cursor::new(&value);
    let Some(media_type) = cursor.token() else { return };
    if !cursor.take(b'/') {
        return;
    }
    let Some(subtype) = cursor.token() else { return };
    part.parameters = parameters(&mut cursor, budget);
    part.media_type = media_type;
    part.subtype = subtype;
}

/// RFC 2183 §2
fn disposition(value: &[u8], budget: &mut Budget) -> Option<(String, Parameters)> {
    let value = unfold(value);
    let mut cursor = Cursor::new(&value);
    let kind = cursor.token()?;
    Some((kind, parameters(&mut cursor, budget)))
}

fn first(slot: &mut Option<Vec<u8>>, value: &[u8]) {
    if slot.is_none() {
        *slot = Some(unfold(value)).filter(|value| !value.is_empty());
    }
}

/// RFC 3282 §2
fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let value = unfold(value);
    let tags = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tags.filter(|tag| is_token(tag)).take(LANGUAGES_MAX).map(<[u8]>::to_vec).collect()
}
