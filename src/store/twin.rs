//! Whether a message is stored already, though its header differs: the copy of a sent mail that a
//! mail program files itself is the mail that went out through us, but perhaps with Bcc or with
//! fields of the program's own. Knows no command and no protocol.

use super::{FactsWanted, Instance, Store, StoreError};
use crate::mail::message::{Content, Parsed, Part};

/// The instances of messages with the Message-ID of `message` and the same body, newest first.
///
/// The same body: the same tree of parts with the same types, sizes and numbers of lines, and the
/// same text, but for an empty line at the end: s-nail files its copy with one, as into an mbox.
/// Only who made the one message can make another like it.
pub async fn twins(store: &dyn Store, message: &Parsed) -> Result<Vec<Instance>, StoreError> {
    let Some(id) = message.envelope.bare_message_id() else { return Ok(Vec::new()) };
    let instances = store.instances_of(&id).await?;
    let blobs: Vec<_> = instances.iter().map(|instance| instance.blob).collect();
    let wanted = FactsWanted { structure: true, body_text: true, ..FactsWanted::default() };
    let facts = store.facts(&blobs, wanted).await?;
    let is_same = |facts: &super::Facts| {
        let (Some(structure), Some(text)) = (&facts.structure, &facts.body_text) else {
            return false;
        };
        are_twins(structure, &message.structure) && text.trim_end() == message.text.body.trim_end()
    };
    let same = instances.into_iter().zip(&facts).filter(|(_, facts)| is_same(facts));
    Ok(same.map(|(instance, _)| instance).collect())
}

/// Whether two messages are alike below their headers, but for an empty line at the end.
fn are_twins(one: &Part, other: &Part) -> bool {
    let lines = one.lines.abs_diff(other.lines);
    let bytes = one.body_bytes().abs_diff(other.body_bytes());
    lines <= 1 && (bytes == 0 || bytes == 2) && are_of_a_kind(one, other)
}

/// Whether two parts are alike below their headers.
fn are_alike(one: &Part, other: &Part) -> bool {
    let size = |part: &Part| (part.body_bytes(), part.lines);
    size(one) == size(other) && are_of_a_kind(one, other)
}

fn are_of_a_kind(one: &Part, other: &Part) -> bool {
    let kind = |part: &Part| (part.media_type.clone(), part.subtype.clone(), part.encoding.clone());
    kind(one) == kind(other)
        && match (&one.content, &other.content) {
            (Content::Leaf, Content::Leaf) => true,
            (Content::Multipart(one), Content::Multipart(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(a, b)| are_alike(a, b))
            }
            (Content::Message(_, one), Content::Message(_, other)) => are_alike(one, other),
            _ => false,
        }
}
