//! The order of SORT, and what THREAD needs of a message: from the snapshot and from stored facts
//! in batches, never from bodies. RFC 5256 §3, RFC 5957

use std::cmp::Ordering;

use super::evaluate::Hit;
use super::threads::Threadable;
use crate::imap::Refusal;
use crate::imap::capability::Capabilities;
use crate::imap::view::{Selection, View};
use crate::imap::wire::lex::Cursor;
use crate::mail::base_subject::{BaseSubject, base_subject};
use crate::mail::collation;
use crate::mail::id::{BlobId, Timestamp, Uid};
use crate::mail::message::{Envelope, EnvelopeAddress, decoded, message_ids};
use crate::store::snapshot::Entry;
use crate::store::{FactsWanted, Store, StoreError};

/// Most criteria in one SORT.
pub const CRITERIA_MAX: usize = 16;
/// So many envelopes are asked for at once.
const ENVELOPES_BATCH: usize = 1000;

/// One criterion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Criterion {
    key: SortKey,
    direction: Direction,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SortKey {
    Arrival,
    Cc,
    Date,
    From,
    Size,
    Subject,
    To,
    DisplayFrom,
    DisplayTo,
    Relevancy,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Ascending,
    Reverse,
}

/// Each key with the capability that it belongs to.
const KEYS: [(&str, SortKey, &str); 10] = [
    ("ARRIVAL", SortKey::Arrival, "SORT"),
    ("CC", SortKey::Cc, "SORT"),
    ("DATE", SortKey::Date, "SORT"),
    ("FROM", SortKey::From, "SORT"),
    ("SIZE", SortKey::Size, "SORT"),
    ("SUBJECT", SortKey::Subject, "SORT"),
    ("TO", SortKey::To, "SORT"),
    ("DISPLAYFROM", SortKey::DisplayFrom, "SORT=DISPLAY"),
    ("DISPLAYTO", SortKey::DisplayTo, "SORT=DISPLAY"),
    ("RELEVANCY", SortKey::Relevancy, "SEARCH=FUZZY"),
];

impl Criterion {
    /// Whether scores are compared. RFC 6203 §6
    pub fn is_relevancy(&self) -> bool {
        self.key == SortKey::Relevancy
    }
}

/// `(SUBJECT REVERSE DATE)`. RFC 5256 §5 `sort-criteria`
pub fn criteria(
    cursor: &mut Cursor<'_>,
    capabilities: &Capabilities,
) -> Result<Vec<Criterion>, Refusal> {
    if !cursor.take(b'(') {
        return Err(cursor.expected("sort criteria in parentheses"));
    }
    let mut criteria = Vec::new();
    loop {
        let mut start = cursor.clone();
        let mut word = cursor.atom()?.to_ascii_uppercase();
        let mut direction = Direction::Ascending;
        if word == "REVERSE" {
            direction = Direction::Reverse;
            cursor.space()?;
            start = cursor.clone();
            word = cursor.atom()?.to_ascii_uppercase();
        }
        let known = KEYS.iter().find(|row| row.0 == word && capabilities.has(row.2));
        let key = known.ok_or_else(|| start.expected("a sort key"))?.1;
        criteria.push(Criterion { key, direction });
        if criteria.len() > CRITERIA_MAX {
            return Err(start.expected("at most 16 sort criteria"));
        }
        if cursor.take(b')') {
            return Ok(criteria);
        }
        cursor.space()?;
    }
}

/// One value for each hit.
enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<Box<str>>),
}

impl Column {
    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Column::Numbers(numbers) => numbers[a].cmp(&numbers[b]),
            Column::Texts(texts) => texts[a].cmp(&texts[b]),
        }
    }

    fn push(&mut self, (key, hit): (SortKey, &Hit), entry: &Entry, envelope: &Envelope) {
        match self {
            Column::Numbers(numbers) => numbers.push(match key {
                SortKey::Arrival => entry.internal_date.seconds(),
                SortKey::Size => i64::from(entry.size_bytes),
                // the highest first. RFC 6203 §6
                SortKey::Relevancy => -i64::from(hit.relevancy),
                _ => sent(entry, envelope),
            }),
            Column::Texts(texts) => texts.push(ordered(text(key, envelope)).into_boxed_str()),
        }
    }
}

/// The hits in the order of `criteria`; those that are alike stay in the order of the mailbox.
pub async fn sorted(
    store: &dyn Store,
    view: &View,
    hits: &[Hit],
    criteria: &[Criterion],
) -> Result<Vec<Hit>, StoreError> {
    use SortKey::{Arrival, Date, Relevancy, Size};
    let is_number = |key| matches!(key, Arrival | Size | Date | Relevancy);
    let column = |criterion: &Criterion| match is_number(criterion.key) {
        true => Column::Numbers(Vec::with_capacity(hits.len())),
        false => Column::Texts(Vec::with_capacity(hits.len())),
    };
    let mut columns: Vec<Column> = criteria.iter().map(column).collect();
    let is_known = |criterion: &Criterion| matches!(criterion.key, Arrival | Size | Relevancy);
    let reading = if criteria.iter().all(is_known) { Reading::Nothing } else { Reading::Envelopes };
    let mut next = hits.iter();
    each(store, view, (hits, reading), |entry, envelope| {
        let Some(hit) = next.next() else { return };
        for (column, criterion) in columns.iter_mut().zip(criteria) {
            column.push((criterion.key, hit), entry, envelope);
        }
    })
    .await?;
    let compare = |a: &usize, b: &usize| {
        let by = |(column, criterion): (&Column, &Criterion)| match criterion.direction {
            Direction::Ascending => column.compare(*a, *b),
            Direction::Reverse => column.compare(*b, *a),
        };
        let differs = columns.iter().zip(criteria).map(by).find(|ordering| ordering.is_ne());
        differs.unwrap_or_else(|| a.cmp(b))
    };
    let mut order: Vec<usize> = (0..hits.len()).collect();
    order.sort_unstable_by(compare);
    Ok(order.into_iter().map(|at| hits[at]).collect())
}

/// Whether the first message comes before the second in the order of `criteria`.
pub async fn comes_before(
    store: &dyn Store,
    view: &View,
    (first, second): (Uid, Uid),
    criteria: &[Criterion],
) -> Result<bool, StoreError> {
    let both = view.with_uids(&[first, second].into_iter().collect());
    let hits: Vec<Hit> = view.messages(&both).map(|message| Hit::of(&message)).collect();
    let sorted = sorted(store, view, &hits, criteria).await?;
    Ok(sorted.first().is_some_and(|hit| hit.uid == first.0))
}

/// The hits as THREAD needs them; `name` says how the answer names them.
pub async fn threadables(
    store: &dyn Store,
    view: &View,
    hits: &[Hit],
    name: impl Fn(&Hit) -> u32,
) -> Result<Vec<Threadable>, StoreError> {
    let mut messages = Vec::with_capacity(hits.len());
    let mut names = hits.iter().map(name);
    each(store, view, (hits, Reading::Envelopes), |entry, envelope| {
        let BaseSubject { text, kind } = subject(envelope);
        messages.push(Threadable {
            name: names.next().unwrap_or_default(),
            sent: sent(entry, envelope),
            subject: collation::key(&text),
            kind,
            id: envelope.bare_message_id().map(|id| unquoted(&id)),
            references: references(envelope),
        });
    })
    .await?;
    Ok(messages)
}

/// Whether envelopes are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Envelopes,
}

/// Goes through the hits, which stand in the order of the mailbox. What cannot be read any more
/// counts as a message without header.
async fn each(
    store: &dyn Store,
    view: &View,
    (hits, reading): (&[Hit], Reading),
    mut take: impl FnMut(&Entry, &Envelope),
) -> Result<(), StoreError> {
    let none = Envelope::default();
    let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
    for some in hits.chunks(ENVELOPES_BATCH) {
        let selection = Selection::from_numbers(some.iter().map(|hit| hit.number));
        if reading == Reading::Nothing {
            view.messages(&selection).for_each(|message| take(message.entry, &none));
            continue;
        }
        let blobs: Vec<BlobId> = view.messages(&selection).map(|m| m.entry.blob).collect();
        let facts = store.facts(&blobs, wanted).await?;
        for (message, facts) in view.messages(&selection).zip(&facts) {
            take(message.entry, facts.envelope.as_deref().unwrap_or(&none));
        }
    }
    Ok(())
}

/// In seconds; INTERNALDATE where the header has no date. RFC 5256 §2.2
fn sent(entry: &Entry, envelope: &Envelope) -> i64 {
    envelope.date_micros.map_or(entry.internal_date, Timestamp).seconds()
}

fn subject(envelope: &Envelope) -> BaseSubject {
    envelope.subject.as_deref().map(|raw| base_subject(&decoded(raw))).unwrap_or_default()
}

/// What could not be converted comes behind everything that could. RFC 5255 §4.6
fn ordered(key: String) -> String {
    match key.contains(char::REPLACEMENT_CHARACTER) {
        true => format!("{}{key}", char::MAX),
        false => key,
    }
}

fn text(key: SortKey, envelope: &Envelope) -> String {
    match key {
        SortKey::Subject => collation::key(&subject(envelope).text),
        SortKey::Cc => mailbox(&envelope.cc),
        SortKey::From => mailbox(&envelope.from),
        SortKey::To => mailbox(&envelope.to),
        SortKey::DisplayFrom => display(&envelope.from),
        SortKey::DisplayTo => display(&envelope.to),
        SortKey::Arrival | SortKey::Size | SortKey::Date | SortKey::Relevancy => String::new(),
    }
}

/// `addr-mailbox` of the first address.
fn mailbox(addresses: &[EnvelopeAddress]) -> String {
    let mailbox = addresses.first().and_then(|address| address.mailbox.as_deref());
    mailbox.map(|raw| collation::key(&decoded(raw))).unwrap_or_default()
}

/// RFC 5957 §3
fn display(addresses: &[EnvelopeAddress]) -> String {
    let Some(address) = addresses.first() else { return String::new() };
    let name = address.name.as_deref().map(decoded).filter(|name| !name.is_empty());
    let text = name.unwrap_or_else(|| match (&address.mailbox, &address.host) {
        (Some(mailbox), Some(host)) => format!("{}@{}", decoded(mailbox), decoded(host)),
        (Some(mailbox), None) => decoded(mailbox),
        (None, _) => String::new(),
    });
    collation::key(&text)
}

/// RFC 5256 §3 REFERENCES
fn references(envelope: &Envelope) -> Vec<String> {
    if !envelope.references.is_empty() {
        return envelope.references.iter().map(|id| unquoted(id)).collect();
    }
    let answered = envelope.in_reply_to.as_deref().map(message_ids).unwrap_or_default();
    answered.first().map(|id| unquoted(id)).into_iter().collect()
}

/// A Message-ID in the one form for all ways to quote it. RFC 5256 §3 REFERENCES
fn unquoted(id: &str) -> String {
    if !id.contains('"') {
        return id.to_owned();
    }
    let mut out = String::with_capacity(id.len());
    let mut letters = id.chars();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => quoted = !quoted,
            '\\' if quoted => out.extend(letters.next()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_are_read_up_to_their_number() {
        let on = Capabilities::default();
        let read = |text: &str| criteria(&mut Cursor::new(text.as_bytes()), &on);
        assert_eq!(read("(subject REVERSE date)").map(|all| all.len()), Ok(2));
        let many = |count: usize| format!("({})", vec!["REVERSE SIZE"; count].join(" "));
        assert_eq!(read(&many(CRITERIA_MAX)).map(|all| all.len()), Ok(CRITERIA_MAX));
        assert!(read(&many(CRITERIA_MAX + 1)).is_err());
        for wrong in ["", "()", "SUBJECT", "(REVERSE)", "(X)", "(SUBJECT", "(REVERSE REVERSE TO)"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let off = Capabilities::without(&["sort=display".into()]);
        assert!(criteria(&mut Cursor::new(b"(DISPLAYFROM)"), &off).is_err());
    }

    #[test]
    fn an_identifier_is_the_same_however_it_is_quoted() {
        assert_eq!(unquoted("\"01KF\"@x"), "01KF@x");
        assert_eq!(unquoted("\"a\\\"b\"@x"), "a\"b@x");
        assert_eq!(unquoted("A.1@x"), "A.1@x");
    }
}
