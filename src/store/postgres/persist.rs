//! From rows to batches: what a group of transactions writes, a statement a table, in the order in
//! which the statements are to be sent. Decides nothing.

use std::borrow::Cow;
use std::collections::HashMap;

use super::batch::{Batch, Column, Value};
use crate::mail::id::{BlobId, Login, MailboxId, Timestamp, Uid};
use crate::store::encode::{self, Encoded};
use crate::store::nodes::Published;
use crate::store::rows::Rows;
use crate::store::snapshot::Entry;
use crate::store::state::{Changed, Counters, Held};
use crate::store::{StoreError, sql};
use Column::{Bytes, Int, Text};
use Value::{Int as I, MaybeBytes, MaybeInt, Text as T};

/// A group on its way to the tables.
pub(super) struct Group<'a> {
    pub(super) changed: &'a Changed,
    /// Where the bytes of each new message are: place and object.
    pub(super) places: &'a HashMap<BlobId, (i64, i64)>,
    pub(super) encoded: &'a HashMap<[u8; 32], &'a Encoded>,
    pub(super) now: Timestamp,
}

/// All rows of a group.
pub(super) fn batches<'a>(group: &Group<'a>) -> Result<Vec<Batch<'a>>, StoreError> {
    let rows = &group.changed.rows;
    let mut all = Vec::new();
    messages(&mut all, group)?;
    traces(&mut all, group);
    instances(&mut all, rows);
    mirrored(&mut all, rows);
    overlays(&mut all, rows)?;
    mailboxes(&mut all, group.changed);
    queue(&mut all, rows)?;
    choices(&mut all, rows);
    people(&mut all, rows)?;
    nodes(&mut all, group.changed);
    audit(&mut all, group.changed);
    all.retain(|batch| !batch.is_empty());
    Ok(all)
}

fn messages<'a>(all: &mut Vec<Batch<'a>>, group: &Group<'a>) -> Result<(), StoreError> {
    let incomplete = || StoreError::Unavailable("a message without bytes or facts".into());
    let mut references = group.changed.rows.blob_references.clone();
    let mut put = Batch::new(sql::PUT_MESSAGE, &[Int, Bytes, Int, Int, Int, Int, Int, Int]);
    let facts = [
        sql::PUT_ENVELOPE,
        sql::PUT_STRUCTURE,
        sql::PUT_FIELDS,
        sql::PUT_HEADER_TEXT,
        sql::PUT_BODY_TEXT,
        sql::PUT_PREVIEW,
    ];
    let mut facts = facts.map(|statement| Batch::new(statement, &[Int, Bytes]));
    let mut ids = Batch::new(sql::PUT_MESSAGE_ID, &[Int, Int]);
    for (id, message) in &group.changed.rows.blobs {
        let (place, object) = group.places.get(id).ok_or_else(incomplete)?;
        let encoded = group.encoded.get(&message.hash).ok_or_else(incomplete)?;
        let instances = references.remove(id).unwrap_or(0);
        let freed = (instances == 0).then_some(group.now.0);
        let (hash, length) = (Value::bytes(&message.hash), message.bytes.len().cast_signed());
        let counted = (I(instances), MaybeInt(freed));
        let place = (I(*place), I(*object), I(length));
        let check = I(encoded.text.check());
        put.row([I(id.0), hash, place.0, place.1, place.2, counted.0, counted.1, check]);
        let data = [
            &encoded.envelope,
            &encoded.structure,
            &encoded.fields,
            &encoded.text.header,
            &encoded.text.body,
            &encoded.preview,
        ];
        for (batch, data) in facts.iter_mut().zip(data) {
            batch.row([I(id.0), Value::bytes(data)]);
        }
        encoded.digests.iter().for_each(|digest| ids.row([I(*digest), I(id.0)]));
    }
    let mut heal = Batch::new(sql::HEAL_MESSAGE, &[Int, Int, Int]);
    for (id, _) in &group.changed.rows.healed {
        let (place, object) = group.places.get(id).ok_or_else(incomplete)?;
        heal.row([I(*place), I(*object), I(id.0)]);
    }
    let mut keep = Batch::new(sql::KEEP_PREVIEW, &[Int, Bytes]);
    for (id, preview) in &group.changed.rows.previews {
        keep.row([I(id.0), Value::bytes(preview.as_bytes())]);
    }
    let mut count = Batch::new(sql::COUNT_MESSAGE, &[Int, Int, Int]);
    for (id, delta) in references.iter().filter(|(_, delta)| **delta != 0) {
        count.row([I(*delta), I(group.now.0), I(id.0)]);
    }
    all.push(put);
    all.extend(facts);
    all.extend([ids, heal, keep, count]);
    Ok(())
}

fn traces<'a>(all: &mut Vec<Batch<'a>>, group: &Group<'a>) {
    let mut references = group.changed.rows.trace_references.clone();
    let mut put = Batch::new(sql::PUT_TRACE, &[Int, Bytes, Int, Int]);
    for (id, data) in &group.changed.rows.traces {
        let instances = references.remove(id).unwrap_or(0);
        let freed = (instances == 0).then_some(group.now.0);
        put.row([I(id.0), Value::bytes(data), I(instances), MaybeInt(freed)]);
    }
    let mut count = Batch::new(sql::COUNT_TRACE, &[Int, Int, Int]);
    for (id, delta) in references.iter().filter(|(_, delta)| **delta != 0) {
        count.row([I(*delta), I(group.now.0), I(id.0)]);
    }
    all.extend([put, count]);
}

/// An instance in the order of `sql::PUT_INSTANCE`.
fn instance<'a>((mailbox, uid): (MailboxId, Uid), entry: &Entry) -> [Value<'a>; 12] {
    [
        I(mailbox.0),
        I(uid.0.into()),
        I(entry.modseq.0.cast_signed()),
        I(entry.blob.0),
        I(entry.trace.0),
        I(entry.thread.0),
        I(entry.size_bytes.into()),
        I(entry.trace_bytes.into()),
        I(entry.internal_date.0),
        I(entry.saved.0),
        I(entry.flags.0.into()),
        MaybeBytes(encode::keyword_bytes(&entry.keywords)),
    ]
}

fn instances<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) {
    const COLUMNS: &[Column] = &[Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Bytes];
    let mut put = Batch::new(sql::PUT_INSTANCE, COLUMNS);
    let mut delete = Batch::new(sql::DELETE_INSTANCE, &[Int, Int]);
    for (place, entry) in &rows.instances {
        match entry {
            Some(entry) => put.row(instance(*place, entry)),
            None => delete.row([I(place.0.0), I(place.1.0.into())]),
        }
    }
    let mut stones = Batch::new(sql::PUT_TOMBSTONE, &[Int, Int, Int, Int]);
    for stone in &rows.tombstones {
        let (first, last) = (I(stone.first.0.into()), I(stone.last.0.into()));
        stones.row([I(stone.mailbox.0), I(stone.modseq.0.cast_signed()), first, last]);
    }
    all.extend([put, delete, stones]);
}

fn mirrored<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) {
    const COLUMNS: &[Column] =
        &[Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Int, Bytes, Int, Int];
    let mut put = Batch::new(sql::PUT_MIRRORED, COLUMNS);
    let mut delete = Batch::new(sql::DELETE_MIRRORED, &[Int, Int]);
    for (place, entry) in &rows.mirrored {
        let Some((entry, origin)) = entry else {
            delete.row([I(place.0.0), I(place.1.0.into())]);
            continue;
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l] = instance(*place, entry);
        let (mailbox, uid) = (I(origin.mailbox.0), I(origin.uid.0.into()));
        put.row([a, b, c, d, e, f, g, h, i, j, k, l, mailbox, uid]);
    }
    all.extend([put, delete]);
}

fn overlays<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) -> Result<(), StoreError> {
    let mut put = Batch::new(sql::PUT_OVERLAY, &[Int, Text, Int, Int, Bytes]);
    for ((mailbox, user, number), block) in &rows.blocks {
        let (seen, runs) = (I(block.seen.cast_signed()), encoded(&block.runs)?);
        put.row([I(mailbox.0), T(user.as_str()), I((*number).into()), seen, runs]);
    }
    all.push(put);
    Ok(())
}

/// Recipients first: with a message that has left go those that a group wrote before.
fn queue<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) -> Result<(), StoreError> {
    let mut put = Batch::new(sql::PUT_QUEUED_RECIPIENT, &[Int, Int, Bytes]);
    let mut delete = Batch::new(sql::DELETE_QUEUED_RECIPIENT, &[Int, Int]);
    for ((id, number), recipient) in &rows.queued_recipients {
        let number = I((*number).into());
        match recipient {
            Some(recipient) => put.row([I(id.0), number, encoded(recipient)?]),
            None => delete.row([I(id.0), number]),
        }
    }
    all.extend([put, delete]);
    let mut put = Batch::new(sql::PUT_QUEUED, &[Int, Int, Int, Int, Bytes]);
    let mut gone = Vec::new();
    for (id, queued) in &rows.queued {
        let Some(queued) = queued else {
            gone.push(id.0);
            continue;
        };
        let (size, envelope) = (queued.size_bytes.cast_signed(), encoded(&*queued.envelope)?);
        put.row([I(id.0), I(queued.blob.0), I(queued.trace.0), I(size), envelope]);
    }
    all.push(put);
    delete_each(all, &sql::DELETE_QUEUED, &gone);
    Ok(())
}

fn mailboxes<'a>(all: &mut Vec<Batch<'a>>, changed: &'a Changed) {
    const COLUMNS: &[Column] = &[Int, Int, Text, Text, Int, Int, Int, Int, Int];
    let mut put = Batch::new(sql::PUT_MAILBOX, COLUMNS);
    changed.mailboxes.values().flatten().for_each(|held| put.row(mailbox(held)));
    let mut keywords = Batch::new(sql::PUT_KEYWORD, &[Int, Int, Text]);
    for (mailbox, number, name) in &changed.rows.keywords {
        keywords.row([I(mailbox.0), I((*number).into()), T(name)]);
    }
    all.extend([put, keywords]);
    let gone: Vec<i64> = changed.rows.deleted.iter().map(|id| id.0).collect();
    delete_each(all, &sql::DELETE_MAILBOX, &gone);
    all.extend(changed.counters.map(counters));
}

fn mailbox(held: &Held) -> [Value<'_>; 9] {
    let mailbox = &held.mailbox;
    let (kind, account) = encode::account_columns(&mailbox.account);
    [
        I(mailbox.id.0),
        I(kind),
        T(account),
        T(mailbox.folder.path()),
        I(mailbox.uid_validity.0.into()),
        I(held.uid_next.0.into()),
        I(held.highest_modseq.0.cast_signed()),
        I(held.usage.messages.cast_signed()),
        I(held.usage.bytes.cast_signed()),
    ]
}

/// Statements that each remove what belongs to an id.
fn delete_each(all: &mut Vec<Batch<'_>>, statements: &[&'static str], ids: &[i64]) {
    for statement in statements {
        let mut delete = Batch::new(statement, &[Int]);
        ids.iter().for_each(|id| delete.row([I(*id)]));
        all.push(delete);
    }
}

/// Numbers are never used twice, so the counters are stored and not taken from what is there.
fn counters<'a>(counters: Counters) -> Batch<'a> {
    let mut put = Batch::new(sql::PUT_COUNTER, &[Text, Int]);
    put.row([T("mailbox"), I(counters.mailbox)]);
    put.row([T("message"), I(counters.blob)]);
    put.row([T("trace"), I(counters.trace)]);
    put.row([T("thread"), I(counters.thread)]);
    put.row([T("queue"), I(counters.queue)]);
    put.row([T("uid_validity"), I(counters.uid_validity.into())]);
    put
}

fn choices<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) {
    let mut subscribe = Batch::new(sql::PUT_SUBSCRIPTION, &[Text, Int, Text, Text, Int]);
    for ((user, account, folder), subscribed) in &rows.subscriptions {
        let (kind, account) = encode::account_columns(account);
        let subscribed = I(i64::from(*subscribed));
        subscribe.row([T(user.as_str()), I(kind), T(account), T(folder.path()), subscribed]);
    }
    let mut note = Batch::new(sql::PUT_METADATA, &[Text, Int, Text, Bytes]);
    let mut forget = Batch::new(sql::DELETE_METADATA, &[Text, Int, Text]);
    for ((user, mailbox, entry), value) in &rows.metadata {
        let (user, about) = (user.as_ref().map_or("", Login::as_str), mailbox.map_or(0, |id| id.0));
        match value {
            Some(value) => note.row([T(user), I(about), T(entry), Value::bytes(value)]),
            None => forget.row([T(user), I(about), T(entry)]),
        }
    }
    let mut grant = Batch::new(sql::PUT_GRANT, &[Int, Text, Text, Text]);
    let mut revoke = Batch::new(sql::DELETE_GRANT, &[Int, Text, Text]);
    for ((account, user), rights) in &rows.grants {
        let (kind, account) = encode::account_columns(account);
        match rights {
            Some(rights) => grant.row([I(kind), T(account), T(user.as_str()), T(rights)]),
            None => revoke.row([I(kind), T(account), T(user.as_str())]),
        }
    }
    let mut turn = Batch::new(sql::PUT_TURN, &[Int, Text, Text, Int]);
    for ((account, user), number) in &rows.turns {
        let (kind, account) = encode::account_columns(account);
        turn.row([I(kind), T(account), T(user.as_str()), I(number.cast_signed())]);
    }
    let mut keys = Batch::new(sql::PUT_DUPLICATE_KEY, &[Bytes, Int]);
    rows.duplicate_keys.iter().for_each(|(key, used)| keys.row([Value::bytes(key), I(used.0)]));
    all.extend([subscribe, note, forget, grant, revoke, turn, keys]);
}

fn people<'a>(all: &mut Vec<Batch<'a>>, rows: &'a Rows) -> Result<(), StoreError> {
    let mut leave = Batch::new(sql::PUT_ABSENCE, &[Text, Int]);
    let mut back = Batch::new(sql::DELETE_ABSENCE, &[Text]);
    for (user, until) in &rows.absences {
        match until {
            Some(until) => leave.row([T(user.as_str()), I(until.0)]),
            None => back.row([T(user.as_str())]),
        }
    }
    let mut open = Batch::new(sql::PUT_OPENING, &[Text, Text, Int]);
    let mut close = Batch::new(sql::DELETE_OPENING, &[Text, Text]);
    for ((user, of), until) in &rows.openings {
        match until {
            Some(until) => open.row([T(user.as_str()), T(of.as_str()), I(until.0)]),
            None => close.row([T(user.as_str()), T(of.as_str())]),
        }
    }
    let mut access = Batch::new(sql::PUT_ACCESS_KNOWN, &[Int, Text, Bytes]);
    for (account, rights) in &rows.access_known {
        let (kind, account) = encode::account_columns(account);
        access.row([I(kind), T(account), encoded(rights)?]);
    }
    all.extend([leave, back, open, close, access]);
    Ok(())
}

fn nodes<'a>(all: &mut Vec<Batch<'a>>, changed: &'a Changed) {
    let mut directory = Batch::new(sql::PUT_DIRECTORY, &[Bytes, Int, Text, Bytes]);
    if let Some(Published { text, at, host, salts }) = changed.directory.as_deref() {
        directory.row([Value::bytes(text.as_bytes()), I(at.0), T(host), Value::bytes(salts)]);
    }
    let mut tenures = Batch::new(sql::PUT_TENURE, &[Text, Int]);
    changed.tenures.iter().for_each(|(duty, number)| tenures.row([T(duty.name()), I(*number)]));
    all.extend([directory, tenures]);
}

/// The log's new end in the same transaction: a crash leaves both or neither.
fn audit<'a>(all: &mut Vec<Batch<'a>>, changed: &'a Changed) {
    let mut put = Batch::new(sql::PUT_AUDIT, &[Int, Int, Text, Bytes]);
    for record in &changed.rows.audit {
        let hash = Value::bytes(&record.hash);
        put.row([I(record.id.0), I(record.at.0), T(&record.text), hash]);
    }
    let mut end = Batch::new(sql::PUT_AUDIT_TIP, &[Int, Bytes]);
    changed.audit.iter().for_each(|tip| end.row([I(tip.id.0), Value::bytes(&tip.hash)]));
    let mut trashed = Batch::new(sql::PUT_TRASHED, &[Int, Int, Int]);
    let mut restored = Batch::new(sql::DELETE_TRASHED, &[Int, Int]);
    for ((mailbox, uid), entry) in &changed.rows.trashed {
        match entry {
            Some(entry) => trashed.row([I(mailbox.0), I(uid.0.into()), I(entry.0)]),
            None => restored.row([I(mailbox.0), I(uid.0.into())]),
        }
    }
    all.extend([put, end, trashed, restored]);
}

fn encoded<'a, V: serde::Serialize>(value: &V) -> Result<Value<'a>, StoreError> {
    encode::to_bytes(value).map(|bytes| Value::Bytes(Cow::Owned(bytes)))
}
