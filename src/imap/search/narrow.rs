//! What the store knows of messages' texts without reading them, for the keys of a search. It may
//! know nothing at all; what it does not know is read. Decides nothing about keys of other kinds.

use super::evaluate::is_trace_field;
use super::fuzzy::{Like, Place};
use super::key::Key;
use crate::imap::view::Message;
use crate::mail::id::BlobId;
use crate::store::text::{How, NEEDLES_MAX, Needle, TextPlace, Verdict};
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
            Key::Body(text) => self.verdict((TextPlace::Body, text, How::Exactly), at),
            Key::Text(text) => self.in_either((text, How::Exactly), at),
            // it may be there in another field; a trace field may have it beside the header
            Key::Header { name, text } if !is_trace_field(name) => {
                let wanted = (TextPlace::Header, text.as_str(), How::Exactly);
                self.verdict(wanted, at).filter(|is_there| !is_there)
            }
            Key::Like(like) => self.says_of_like(like, at),
            _ => None,
        }
    }

    fn says_of_like(&self, like: &Like, at: usize) -> Option<bool> {
        let word = like.pattern.word();
        match &like.place {
            Place::Body => self.verdict((TextPlace::Body, word, How::Like), at),
            Place::Text => self.in_either((word, How::Like), at),
            Place::Field(name) if !is_trace_field(name) => {
                let is_there = self.verdict((TextPlace::Header, word, How::Like), at);
                is_there.filter(|is_there| !is_there)
            }
            Place::Field(_) => None,
        }
    }

    fn in_either(&self, (text, how): (&str, How), at: usize) -> Option<bool> {
        let header = self.verdict((TextPlace::Header, text, how), at);
        let body = self.verdict((TextPlace::Body, text, how), at);
        match (header, body) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }

    fn verdict(&self, (place, text, how): (TextPlace, &str, How), at: usize) -> Option<bool> {
        let is_it = |n: &Needle| n.place == place && n.text == text && n.how == how;
        let number = self.needles.iter().position(is_it)?;
        match self.verdicts.get(number)?.get(at)? {
            Verdict::Absent => Some(false),
            Verdict::Present => Some(true),
            Verdict::Unknown => None,
        }
    }
}

/// Each needle once, as many as a store looks at.
fn gather(key: &Key, needles: &mut Vec<Needle>) {
    let mut add = |place, text: &str, how| {
        let needle = Needle { place, text: text.to_owned(), how };
        if needles.len() < NEEDLES_MAX && !text.is_empty() && !needles.contains(&needle) {
            needles.push(needle);
        }
    };
    match key {
        Key::Body(text) => add(TextPlace::Body, text, How::Exactly),
        Key::Text(text) => {
            add(TextPlace::Header, text, How::Exactly);
            add(TextPlace::Body, text, How::Exactly);
        }
        Key::Header { name, text } if !is_trace_field(name) => {
            add(TextPlace::Header, text, How::Exactly);
        }
        Key::Like(Like { place, pattern }) => {
            let is_trace = matches!(place, Place::Field(name) if is_trace_field(name));
            if *place != Place::Body && !is_trace {
                add(TextPlace::Header, pattern.word(), How::Like);
            }
            if matches!(place, Place::Body | Place::Text) {
                add(TextPlace::Body, pattern.word(), How::Like);
            }
        }
        Key::Not(key) | Key::Fuzzy(key) => gather(key, needles),
        Key::Or(keys) => {
            gather(&keys.0, needles);
            gather(&keys.1, needles);
        }
        Key::And(keys) => keys.iter().for_each(|key| gather(key, needles)),
        _ => {}
    }
}
