//! Tests of messages: first on what the snapshot says, then on what the store knows of their texts
//! without reading them (`narrow`), then, for those that are left, on stored facts in batches.
//! Knows no wire form.

use memchr::memmem;

use super::breath::Breath;
use super::fuzzy::{Near, Place};
use super::key::Key;
use super::narrow::Narrowed;
use super::relevancy::texts;
use crate::imap::date::Day;
use crate::imap::flags::Recent;
use crate::imap::view::{Message, Selection, View};
use crate::mail::id::{BlobId, ModSeq};
use crate::mail::message;
use crate::store::{Facts, FactsWanted, Store, StoreError};

/// So many messages are narrowed down at once.
const CHUNK: usize = 32_768;
/// So many messages' facts are asked for at once; the text of one body can be a mebibyte.
const BODIES_BATCH: usize = 64;
/// The same where no body is read; the text of one header can be a quarter of that.
const HEADERS_BATCH: usize = 256;
/// The same where words of bodies are compared one by one: others want to run between two batches.
const FUZZY_BODIES_BATCH: usize = 8;
/// The same for words of headers.
const FUZZY_HEADERS_BATCH: usize = 64;

/// The fields that our trace consists of.
const TRACE_FIELDS: [&str; 3] = ["RETURN-PATH", "DELIVERED-TO", "RECEIVED"];

/// Whether fields of this folded name may stand in the trace.
pub(super) fn is_trace_field(name: &str) -> bool {
    TRACE_FIELDS.contains(&name)
}

/// A message that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Its sequence number.
    pub number: u32,
    /// Its UID.
    pub uid: u32,
    /// Its mod-sequence, for this user.
    pub modseq: ModSeq,
    /// From 1 to 100; 0: nobody has asked. RFC 6203 §4
    pub relevancy: u8,
}

/// The messages that meet `key`, in the order of their numbers.
pub async fn find(store: &dyn Store, view: &View, key: &Key) -> Result<Vec<Hit>, StoreError> {
    find_among(store, view, key, &base(key, view)).await
}

/// As `find`, among some messages only.
pub async fn find_among(
    store: &dyn Store,
    view: &View,
    key: &Key,
    among: &Selection,
) -> Result<Vec<Hit>, StoreError> {
    let (mut hits, mut open) = (Vec::new(), Vec::new());
    let mut messages = view.messages(among);
    loop {
        let next = messages.next();
        if open.len() == CHUNK || (next.is_none() && !open.is_empty()) {
            decide(store, key, (std::mem::take(&mut open), &mut hits)).await?;
        }
        let Some(message) = next else { break };
        match quick(key, &message, &|_| None) {
            Some(true) => hits.push(Hit::of(&message)),
            Some(false) => (),
            None => open.push(message),
        }
    }
    hits.sort_unstable_by_key(|hit| hit.number);
    Ok(hits)
}

/// Decides on the messages that the snapshot could not decide.
async fn decide(
    store: &dyn Store,
    key: &Key,
    (open, hits): (Vec<Message<'_>>, &mut Vec<Hit>),
) -> Result<(), StoreError> {
    let narrowed = Narrowed::ask(store, key, &open).await?;
    let wanted = wanted(key);
    let is_fuzzy = key.any(&|key| matches!(key, Key::Like(_)));
    let size = match (is_fuzzy, wanted.body_text) {
        (true, true) => FUZZY_BODIES_BATCH,
        (true, false) => FUZZY_HEADERS_BATCH,
        (false, true) => BODIES_BATCH,
        (false, false) => HEADERS_BATCH,
    };
    let mut batch = Vec::with_capacity(size);
    for (at, message) in open.into_iter().enumerate() {
        match quick(key, &message, &|key| narrowed.says(key, at)) {
            Some(true) => hits.push(Hit::of(&message)),
            Some(false) => (),
            None => batch.push(message),
        }
        if batch.len() == size {
            test_open(store, &mut batch, (key, wanted, hits)).await?;
        }
    }
    match batch.is_empty() {
        true => Ok(()),
        false => test_open(store, &mut batch, (key, wanted, hits)).await,
    }
}

impl Hit {
    /// Whose relevancy is not known.
    pub(super) fn of(message: &Message<'_>) -> Hit {
        let (number, modseq) = (message.number, message.modseq);
        Hit { number, uid: message.entry.uid.0, modseq, relevancy: 0 }
    }
}

/// The messages among which all hits are.
fn base(key: &Key, view: &View) -> Selection {
    let named = |key: &Key| match key {
        Key::Messages(selection) => Some(selection.clone()),
        Key::Uids(uids) => Some(view.with_uids(uids)),
        _ => None,
    };
    let found = match key {
        Key::And(keys) => keys.iter().find_map(named),
        key => named(key),
    };
    found.unwrap_or_else(|| Selection::all(view.exists()))
}

/// The facts that decide on `key`.
pub(super) fn wanted(key: &Key) -> FactsWanted {
    let reads_header = |key: &Key| match key {
        Key::Header { .. } | Key::Text(_) => true,
        Key::Like(like) => like.place != Place::Body,
        _ => false,
    };
    let reads_body = |key: &Key| match key {
        Key::Body(_) | Key::Text(_) => true,
        Key::Like(like) => matches!(like.place, Place::Body | Place::Text),
        _ => false,
    };
    FactsWanted {
        envelope: key.any(&|key| matches!(key, Key::Sent(..) | Key::Near(Near::Sent(..)))),
        header_text: key.any(&reads_header),
        body_text: key.any(&reads_body),
        ..FactsWanted::default()
    }
}

/// Whether `key` is about fields that may stand in the trace.
pub(super) fn reads_trace(key: &Key) -> bool {
    key.any(&|key| match key {
        Key::Header { name, .. } => is_trace_field(name),
        Key::Like(like) => matches!(&like.place, Place::Field(name) if is_trace_field(name)),
        _ => false,
    })
}

/// Tests the messages that the snapshot could not decide, and empties the list.
async fn test_open(
    store: &dyn Store,
    open: &mut Vec<Message<'_>>,
    (key, wanted, hits): (&Key, FactsWanted, &mut Vec<Hit>),
) -> Result<(), StoreError> {
    let (reads_trace, mut breath) = (reads_trace(key), Breath::default());
    let blobs: Vec<BlobId> = open.iter().map(|message| message.entry.blob).collect();
    let facts = store.facts(&blobs, wanted).await?;
    for (message, facts) in open.drain(..).zip(&facts) {
        let trace = match reads_trace && message.entry.trace_bytes > 0 {
            true => trace_text(&store.trace(message.entry.trace).await?),
            false => String::new(),
        };
        if full(key, &message, (facts, &trace)) {
            hits.push(Hit::of(&message));
        }
        breath.after(facts).await;
    }
    Ok(())
}

/// The trace as folded lines, like the stored ones.
pub(super) fn trace_text(trace: &[u8]) -> String {
    message::parse(trace).text.header
}

/// What the snapshot says and, of the keys that are about text, `known`; `None` where neither does.
fn quick(key: &Key, m: &Message<'_>, known: &impl Fn(&Key) -> Option<bool>) -> Option<bool> {
    match key {
        Key::All => Some(true),
        Key::Messages(selection) => Some(selection.contains(m.number)),
        Key::Uids(uids) => Some(uids.contains(m.entry.uid)),
        Key::Flags(flags) => Some(m.flags.contains(*flags)),
        Key::Keyword(number) => Some(number.is_some_and(|n| m.entry.keywords.contains(n))),
        Key::Recent => Some(m.recent == Recent::Yes),
        Key::Internal(when, day) => Some(when.holds(Day::of(m.entry.internal_date), *day)),
        Key::Saved(when, day) => Some(when.holds(Day::of(m.entry.saved), *day)),
        Key::Older(than) => Some(m.entry.internal_date.seconds() <= *than),
        Key::Younger(than) => Some(m.entry.internal_date.seconds() >= *than),
        Key::EmailId(id) => Some(id.is_some_and(|id| id.is_email(m.entry))),
        Key::ThreadId(id) => Some(id.is_some_and(|id| id.is_thread(m.entry.thread))),
        Key::Larger(bytes) => Some(u64::from(m.entry.size_bytes) > *bytes),
        Key::Smaller(bytes) => Some(u64::from(m.entry.size_bytes) < *bytes),
        Key::ModSeq(since) => Some(m.modseq >= *since),
        Key::Sent(..) => None,
        Key::Near(near) => is_near(*near, m),
        Key::Header { .. } | Key::Body(_) | Key::Text(_) | Key::Like(_) => known(key),
        Key::Fuzzy(key) => quick(key, m, known),
        Key::Not(key) => quick(key, m, known).map(|is| !is),
        Key::Or(keys) => match (quick(&keys.0, m, known), quick(&keys.1, m, known)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Key::And(keys) => {
            let mut all = Some(true);
            for key in keys {
                match quick(key, m, known) {
                    Some(false) => return Some(false),
                    Some(true) => (),
                    None => all = None,
                }
            }
            all
        }
    }
}

/// Whether the snapshot's day or size is near; `None`: it has no such day.
fn is_near(near: Near, m: &Message<'_>) -> Option<bool> {
    let day = |when, time, day| Some(Near::of_day(when, Day::of(time), day).is_some());
    match near {
        Near::Internal(when, asked) => day(when, m.entry.internal_date, asked),
        Near::Saved(when, asked) => day(when, m.entry.saved, asked),
        Near::Sent(..) => None,
        near => Some(near.of_size(m.entry.size_bytes.into()).is_some()),
    }
}

/// The whole answer, with the facts and the trace at hand.
pub(super) fn full(key: &Key, m: &Message<'_>, facts: (&Facts, &str)) -> bool {
    let (header, body) = (facts.0.header_text.as_deref(), facts.0.body_text.as_deref());
    match key {
        Key::Sent(when, day) => {
            let sent = facts.0.envelope.as_deref().and_then(|envelope| envelope.date_day);
            sent.is_some_and(|sent| when.holds(Day(sent.into()), *day))
        }
        Key::Header { name, text: needle } => {
            has_field(header.unwrap_or_default(), name, needle) || has_field(facts.1, name, needle)
        }
        Key::Body(needle) => body.is_some_and(|text| contains(text, needle)),
        // deliberately not in the trace: it would find the inbox's address in every message
        Key::Text(needle) => [header, body].iter().flatten().any(|text| contains(text, needle)),
        Key::Near(Near::Sent(when, day)) => {
            let sent = facts.0.envelope.as_deref().and_then(|envelope| envelope.date_day);
            sent.is_some_and(|sent| Near::of_day(*when, Day(sent.into()), *day).is_some())
        }
        Key::Like(like) => like.is_in(texts(facts)),
        Key::Fuzzy(key) => full(key, m, facts),
        Key::Not(key) => !full(key, m, facts),
        Key::Or(keys) => full(&keys.0, m, facts) || full(&keys.1, m, facts),
        Key::And(keys) => keys.iter().all(|key| full(key, m, facts)),
        other => quick(other, m, &|_| None).unwrap_or(false),
    }
}

fn contains(text: &str, needle: &str) -> bool {
    memmem::find(text.as_bytes(), needle.as_bytes()).is_some()
}

/// Whether a folded line `NAME: value` of the message's own has `needle` in its value. Most headers
/// do not have it at all, which is found out faster than line by line.
fn has_field(lines: &str, name: &str, needle: &str) -> bool {
    if !contains(lines, needle) {
        return false;
    }
    let value = |line: &'_ str| -> Option<bool> {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.strip_prefix(' ').unwrap_or(value).contains(needle))
    };
    message::own_fields(lines).lines().any(|line| value(line).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let lines = "SUBJECT: HELLO WORLD\nX-SUBJECT: OTHER\nEMPTY:\n";
        assert!(has_field(lines, "SUBJECT", "LO W"));
        assert!(!has_field(lines, "SUBJECT", "OTHER"));
        assert!(!has_field(lines, "SUBJ", "HELLO"));
        assert!(has_field(lines, "EMPTY", ""));
        assert!(!has_field(lines, "ABSENT", ""));
        let with_parts = format!("{lines}\nCONTENT-ID: PART\nSUBJECT: OTHER\n");
        assert!(has_field(&with_parts, "SUBJECT", "WORLD"));
        assert!(!has_field(&with_parts, "SUBJECT", "OTHER"));
        assert!(!has_field(&with_parts, "CONTENT-ID", "PART"));
        assert!(!has_field(&with_parts, "\nCONTENT-ID", "PART"));
    }
}
