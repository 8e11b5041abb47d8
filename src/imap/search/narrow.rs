//! What the store knows of messages' texts without reading them, for the keys of a search. It may
//! know nothing at all; what it does not know is read. Decides nothing about keys of other kinds.

use super::evaluate::is_trace_field;
use super::key::Key;
use crate::imap::view::Message;
use crate::mail::id::BlobId;
use crate::store::text::{NEEDLES_MAX, Needle, TextPlace, Verdict};
use crate::store::{Store, StoreError};

/// Fewer messages than this are read at once.
const MESSAGES_MIN: usize = 64;

/// The answers of the store, by needle and by message.
#[derive(Default)]
pub(super) struct Narrowed {
    needles: Vec<Needle>,
    verdicts: Vec<Vec<Verdict>>,
}

impl Narrowed {
    /// Asks about all texts that `key` looks for in these messages.
    pub(super) async fn ask(
        store: &dyn Store,
        key: &Key,
        messages: &[Message<'_>],
    ) -> Result<Narrowed, StoreError> {
        let mut needles = Vec::new();
        gather(key, &mut needles);
        if needles.is_empty() || messages.len() < MESSAGES_MIN {
            return Ok(Narrowed::default());
        }
        let blobs: Vec<BlobId> = messages.iter().map(|message| message.entry.blob).collect();
        let verdicts = store.text_verdicts(&blobs, &needles).await?;
        Ok(Narrowed { needles, verdicts })
    }

    /// Whether message `at` meets a key about text; `None` where that is not known.
    pub(super) fn says(&self, key: &Key, at: usize) -> Option<bool> {
        match key {
            Key::Body(text) => self.verdict((TextPlace::Body, text), at),
            Key::Text(text) => {
                let header = self.verdict((TextPlace::Header, text), at);
                let body = self.verdict((TextPlace::Body, text), at);
                match (header, body) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                }
            }
            // it may be there in another field; a trace field may have it beside the header
            Key::Header { name, text } if !is_trace_field(name) => {
                self.verdict((TextPlace::Header, text), at).filter(|is_there| !is_there)
            }
            _ => None,
        }
    }

    fn verdict(&self, (place, text): (TextPlace, &str), at: usize) -> Option<bool> {
        let number = self.needles.iter().position(|n| n.place == place && n.text == text)?;
        match self.verdicts.get(number)?.get(at)? {
            Verdict::Absent => Some(false),
            Verdict::Present => Some(true),
            Verdict::Unknown => None,
        }
    }
}

/// Each needle once, as many as a store looks at.
fn gather(key: &Key, needles: &mut Vec<Needle>) {
    let mut add = |place, text: &str| {
        let needle = Needle { place, text: text.to_owned() };
        if needles.len() < NEEDLES_MAX && !text.is_empty() && !needles.contains(&needle) {
            needles.push(needle);
        }
    };
    match key {
        Key::Body(text) => add(TextPlace::Body, text),
        Key::Text(text) => {
            add(TextPlace::Header, text);
            add(TextPlace::Body, text);
        }
        Key::Header { name, text } if !is_trace_field(name) => add(TextPlace::Header, text),
        Key::Not(key) => gather(key, needles),
        Key::Or(keys) => {
            gather(&keys.0, needles);
            gather(&keys.1, needles);
        }
        Key::And(keys) => keys.iter().for_each(|key| gather(key, needles)),
        _ => {}
    }
}
