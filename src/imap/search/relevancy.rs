//! How relevant what was found is: made only for who asks, after the search. What counts of the
//! fuzzy keys that a message meets is their mean; of two alternatives, the better one.
//! RFC 6203 §4

use super::breath::Breath;
use super::evaluate::{Hit, full, reads_trace, trace_text, wanted};
use super::fuzzy::{Near, score};
use super::key::Key;
use crate::imap::date::Day;
use crate::imap::view::{Message, Selection, View};
use crate::mail::id::BlobId;
use crate::store::{Facts, Store, StoreError};

/// So many messages' texts are asked for at once.
const BATCH: usize = 16;

/// Writes its score to each hit.
pub async fn rate(
    store: &dyn Store,
    view: &View,
    key: &Key,
    hits: &mut [Hit],
) -> Result<(), StoreError> {
    let (wanted, reads_trace) = (wanted(key), reads_trace(key));
    let mut breath = Breath::default();
    for some in hits.chunks_mut(BATCH) {
        let selection = Selection::from_numbers(some.iter().map(|hit| hit.number));
        let messages: Vec<Message<'_>> = view.messages(&selection).collect();
        let blobs: Vec<BlobId> = messages.iter().map(|message| message.entry.blob).collect();
        let facts = store.facts(&blobs, wanted).await?;
        for ((hit, message), facts) in some.iter_mut().zip(&messages).zip(&facts) {
            let trace = match reads_trace && message.entry.trace_bytes > 0 {
                true => trace_text(&store.trace(message.entry.trace).await?),
                false => String::new(),
            };
            hit.relevancy = score(quality(key, message, (facts, &trace)).unwrap_or(1.0));
            breath.after(facts).await;
        }
    }
    Ok(())
}

/// How much the message counts; `None`: the key says nothing about that.
fn quality(key: &Key, m: &Message<'_>, facts: (&Facts, &str)) -> Option<f32> {
    match key {
        Key::Fuzzy(key) => quality(key, m, facts),
        Key::Like(like) => like.quality(texts(facts)),
        Key::Near(Near::Internal(when, day)) => {
            Near::of_day(*when, Day::of(m.entry.internal_date), *day)
        }
        Key::Near(Near::Saved(when, day)) => Near::of_day(*when, Day::of(m.entry.saved), *day),
        Key::Near(Near::Sent(when, day)) => {
            let sent = facts.0.envelope.as_deref().and_then(|envelope| envelope.date_day);
            Near::of_day(*when, Day(sent?.into()), *day)
        }
        Key::Near(near) => near.of_size(m.entry.size_bytes.into()),
        Key::And(keys) => mean(keys.iter().filter_map(|key| quality(key, m, facts))),
        Key::Or(keys) => {
            let one =
                |key: &Key| full(key, m, facts).then(|| quality(key, m, facts).unwrap_or(1.0));
            let both = [one(&keys.0), one(&keys.1)];
            both.into_iter().flatten().reduce(f32::max)
        }
        _ => None,
    }
}

fn mean(qualities: impl Iterator<Item = f32>) -> Option<f32> {
    let (count, sum) = qualities.fold((0, 0.0), |(count, sum), one| (count + 1, sum + one));
    (count > 0).then(|| sum / count as f32)
}

/// Header, trace, body.
pub(super) fn texts<'a>((facts, trace): (&'a Facts, &'a str)) -> [&'a str; 3] {
    let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
    [text(&facts.header_text), trace, text(&facts.body_text)]
}
