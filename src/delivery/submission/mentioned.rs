//! Which messages a message names, contains or is, by Message-ID. Decides nothing.

use std::collections::BTreeSet;
use std::io;

use crate::mail::message::{
    ATTACHED_PROBE_BYTES, ATTACHED_SOURCE_BYTES_MAX, Content, Envelope, Parsed, Part, attached,
    attached_parts, begins_as_message, message_ids, select_fields,
};
use crate::store::change::{Bytes, NewMessage};

/// The fields in which a message names others and itself.
const NAMING: [&str; 6] = [
    "In-Reply-To",
    "References",
    "Message-ID",
    "Resent-Message-ID",
    super::answer::FORWARDED_ID,
    "Original-Message-ID",
];
/// How deep messages are opened that are attached as mere bytes, within one another.
const ATTACHED_DEPTH_MAX: usize = 3;
/// So many bytes are opened in all.
const ATTACHED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// All of them, in whichever field: of fields that should stand there once, readers take different
/// ones. A large message with others attached as mere bytes is read from its file.
pub(super) fn ids(message: &NewMessage, header: &[u8]) -> io::Result<BTreeSet<String>> {
    let mut found = Found { ids: BTreeSet::new(), budget: ATTACHED_BYTES_MAX };
    found.header(header);
    found.parsed(&message.parsed, &message.bytes, 0)?;
    Ok(found.ids)
}

struct Found {
    ids: BTreeSet<String>,
    /// Bytes that may still be opened.
    budget: u64,
}

impl Found {
    fn header(&mut self, header: &[u8]) {
        let mut fields = Vec::new();
        select_fields(header, &NAMING, &mut fields);
        let named = fields.split(|byte| *byte == b'<').skip(1);
        let named = named.filter_map(|rest| rest.split(|byte| *byte == b'>').next());
        self.ids.extend(named.map(|id| {
            let id: Vec<u8> = id.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            String::from_utf8_lossy(&id).into_owned()
        }));
    }

    fn envelope(&mut self, envelope: &Envelope) {
        self.ids.extend(envelope.references.iter().cloned());
        let answered = envelope.in_reply_to.as_deref();
        self.ids.extend(answered.map(message_ids).unwrap_or_default());
        self.ids.extend(envelope.bare_message_id());
    }

    fn parsed(&mut self, message: &Parsed, bytes: &Bytes, depth: usize) -> io::Result<()> {
        self.envelope(&message.envelope);
        let mut parts: Vec<&Part> = vec![&message.structure];
        while let Some(part) = parts.pop() {
            match &part.content {
                Content::Leaf => {}
                Content::Multipart(inside) => parts.extend(inside),
                Content::Message(envelope, inside) => {
                    self.envelope(envelope);
                    parts.push(inside);
                }
            }
        }
        if depth == ATTACHED_DEPTH_MAX {
            return Ok(());
        }
        for part in attached_parts(&message.structure) {
            self.attached(part, bytes, depth)?;
        }
        Ok(())
    }

    fn attached(&mut self, part: &Part, bytes: &Bytes, depth: usize) -> io::Result<()> {
        let probe = part.body_bytes().min(ATTACHED_PROBE_BYTES);
        let probe = bytes.read(part.body_start..part.body_start + probe)?;
        if !begins_as_message(part, &probe) {
            return Ok(());
        }
        let length = part.body_bytes().min(ATTACHED_SOURCE_BYTES_MAX).min(self.budget);
        self.budget -= length;
        let body = bytes.read(part.body_start..part.body_start + length)?;
        let Some((message, decoded)) = attached(part, &body) else { return Ok(()) };
        let end = usize::try_from(message.structure.body_start).unwrap_or(usize::MAX);
        self.header(decoded.get(..end).unwrap_or(&decoded));
        self.parsed(&message, &Bytes::Memory(decoded.into()), depth + 1)
    }
}
