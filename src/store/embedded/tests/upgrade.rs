//! Stores of older layouts: they are brought to the present one, whole or not at all.

use super::*;
use crate::mail::id::ThreadId;
use crate::mail::message::SearchText;
use crate::store::change::Outcome;
use crate::store::contract::lookup::identified;
use crate::store::snapshot;
use crate::store::sql::layout;
use crate::store::{Usage, encode, texts};
use rusqlite::params;

const TABLES_OF_1: [&str; 15] = [
    "counter",
    "mailbox",
    "keyword",
    "instance",
    "tombstone",
    "overlay",
    "message",
    "envelope",
    "structure",
    "fields",
    "trace",
    "subscription",
    "access",
    "duplicate_key",
    "pack",
];

/// Writes the store anew as version 1 had it: its tables, and one text for header and body.
fn make_version_1(place: &Place) {
    let (now, old) = (place.path().join("store.db"), place.path().join("old.db"));
    let connection = Connection::open(&old).expect("opens");
    let tables = layout::next(&layout::SQLITE, 0).expect("the first");
    connection.execute_batch(&tables).expect("makes the tables");
    connection.execute("ATTACH $1 AS now", params![now.to_str()]).expect("attaches");
    let added = [
        ("instance", "thread"),
        ("mailbox", "messages"),
        ("mailbox", "size_bytes"),
        ("message", "text_check"),
        ("message", "lost"),
    ];
    for (table, column) in added {
        let drop = format!("ALTER TABLE now.{table} DROP COLUMN {column}");
        connection.execute(&drop, []).expect("drops");
    }
    for table in TABLES_OF_1 {
        let copy = format!("INSERT INTO main.{table} SELECT * FROM now.{table}");
        connection.execute(&copy, []).expect("copies");
    }
    let later = "DELETE FROM counter WHERE name IN ('queue', 'thread')";
    connection.execute(later, []).expect("deletes");
    let both = "SELECT h.id, h.data, b.data FROM now.header_text h JOIN now.body_text b USING (id)";
    let mut both = connection.prepare(both).expect("prepares");
    let mut rows = both.query([]).expect("reads");
    let mut reader = texts::TextReader::new().expect("a reader");
    while let Some(row) = rows.next().expect("reads") {
        let bytes = |at| row.get::<_, Vec<u8>>(at).expect("bytes");
        let (header, body) = (reader.header(&bytes(1)), reader.body(&bytes(2)));
        let text = SearchText { header: header.expect("whole"), body: body.expect("whole") };
        let plain = encode::to_bytes(&text).expect("encodes");
        let frame = zstd::bulk::compress(&plain, 1).expect("compresses");
        let packed = [&(plain.len() as u32).to_le_bytes()[..], &frame].concat();
        let put = "INSERT INTO main.search_text (id, data) VALUES ($1, $2)";
        connection.execute(put, params![row.get::<_, i64>(0).expect("an id"), packed]).expect("ok");
    }
    drop(rows);
    drop(both);
    connection.execute_batch("DETACH now; PRAGMA user_version = 1").expect("ends");
    connection.close().expect("closes");
    std::fs::rename(old, now).expect("replaces");
}

fn query<T: rusqlite::types::FromSql>(place: &Place, query: &str) -> T {
    let connection = Connection::open(place.path().join("store.db")).expect("opens");
    connection.query_row(query, [], |row| row.get(0)).expect("answers")
}

/// A store of version 1 with 150 messages; every third has a Message-ID.
async fn filled(place: &Place, clock: &Arc<ManualClock>) -> (MailboxId, Arc<Snapshot>) {
    let running = start(idle(place, clock, Options::default()));
    let mailbox = running.0.inbox().await;
    let message = |n: u32| match n % 3 {
        0 => identified(mailbox, &format!("message {n}"), &format!("{n}@x")),
        _ => delivery(mailbox, &format!("message {n}")),
    };
    running.0.commit((1..=150).map(message).collect()).await.expect("commits");
    running.0.flag(mailbox, "7", keywords(&["a"])).await;
    running.0.see(mailbox, "anna", "1:20").await;
    let snapshot = running.0.snapshot(mailbox).await;
    assert_eq!(close(running), Ok(()));
    make_version_1(place);
    (mailbox, snapshot)
}

#[tokio::test]
async fn a_store_of_version_1_is_brought_to_the_present_layout() {
    let (place, clock) = (Place::new(), clock());
    let (mailbox, before) = filled(&place, &clock).await;
    for opened in 0..2 {
        let running = start(idle(&place, &clock, Options::default()));
        let bench = &running.0;
        // each is a thread of its own
        let then =
            |e: &snapshot::Entry| snapshot::Entry { thread: ThreadId(-e.blob.0), ..e.clone() };
        assert!(bench.snapshot(mailbox).await.iter().cloned().eq(before.iter().map(then)));
        assert_eq!(bench.overlay(mailbox, "anna").await.seen_count(), 20);
        let bytes = before.totals().size_bytes;
        let account = bench.store.mailbox(mailbox).expect("there").account.clone();
        assert_eq!(bench.store.usage(&account), Usage { messages: 150, bytes });
        let blobs: Vec<BlobId> = before.iter().map(|entry| entry.blob).collect();
        let wanted = FactsWanted {
            header_text: true,
            body_text: true,
            preview: true,
            ..FactsWanted::default()
        };
        let without_check = "SELECT count(*) FROM message WHERE text_check = 0";
        assert_eq!(query::<i64>(&place, without_check), 0);
        for (n, facts) in (1..).zip(bench.store.facts(&blobs, wanted).await.expect("answers")) {
            assert_eq!(facts.header_text, Some(format!("subject: message {n}\r\n")));
            assert_eq!(facts.body_text, Some(format!("message {n}")));
            let kept = (opened == 1).then(|| format!("preview {n}"));
            assert_eq!(facts.preview, kept, "it is made when it is asked for, and kept");
            bench.store.body(blobs[n - 1], 0..u64::MAX).await.expect("matches its hash");
        }
        for n in [3, 75, 150] {
            let found = bench.instances_of(&format!("{n}@x")).await;
            assert_eq!(found.iter().map(|i| i.uid.0).collect::<Vec<_>>(), [n]);
        }
        assert_eq!(bench.instances_of("4@x").await, []);
        for text in ["preview", "another that comes too late"] {
            let all = (1..).zip(&blobs).map(|(n, blob)| (*blob, format!("{text} {n}")));
            let gone = (BlobId(999_999), "of no message".to_owned());
            let made = Change::PreviewsMade(all.chain([gone]).collect());
            assert_eq!(bench.one(made).await, Outcome::Done);
        }
        assert_eq!(query::<i64>(&place, "SELECT count(*) FROM preview"), 150);
        assert_eq!(close(running), Ok(()));
        assert_eq!(query::<i64>(&place, "PRAGMA user_version"), layout::VERSION as i64);
    }
    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.deliver(mailbox, "message 151").await, Uid(151));
    assert_eq!(running.0.queue("message 152", &["ben"]).await.0, 1);
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_store_of_version_2_is_brought_to_the_present_layout() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    assert_eq!(running.0.deliver(mailbox, "one").await, Uid(1));
    assert_eq!(close(running), Ok(()));
    query_none(&place, "ALTER TABLE message DROP COLUMN lost; PRAGMA user_version = 2");
    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.deliver(mailbox, "one").await, Uid(2), "the same bytes");
    let blob = running.0.snapshot(mailbox).await.nth(1).expect("there").blob;
    running.0.store.body(blob, 0..u64::MAX).await.expect("is read");
    assert_eq!(close(running), Ok(()));
    assert_eq!(query::<i64>(&place, "PRAGMA user_version"), layout::VERSION as i64);
    assert_eq!(query::<i64>(&place, "SELECT count(*) FROM message WHERE lost = 0"), 1);
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_store_as_it_was() {
    let (place, clock) = (Place::new(), clock());
    filled(&place, &clock).await;
    query_none(&place, "CREATE TABLE body_text (id INTEGER PRIMARY KEY)");
    let opened = open(place.path(), Options::default(), clock.clone());
    assert!(matches!(opened, Err(StoreError::Unavailable(_))));
    assert_eq!(query::<i64>(&place, "PRAGMA user_version"), 1);
    let tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('queue', 'message_id')";
    assert_eq!(query::<i64>(&place, tables), 0);
    query_none(&place, "DROP TABLE body_text");
    assert!(open(place.path(), Options::default(), clock).is_ok());
}

fn query_none(place: &Place, statement: &str) {
    let connection = Connection::open(place.path().join("store.db")).expect("opens");
    connection.execute_batch(statement).expect("runs");
}

#[tokio::test]
async fn a_damaged_text_does_not_hold_up_an_upgrade() {
    let (place, clock) = (Place::new(), clock());
    let (_, before) = filled(&place, &clock).await;
    query_none(&place, "UPDATE search_text SET data = x'FF00000028B52FFD' WHERE id = 2");
    let idle = idle(&place, &clock, Options::default());
    let wanted = FactsWanted { body_text: true, ..FactsWanted::default() };
    let facts = async |at: usize| {
        let blob = before.nth(at).expect("there").blob;
        idle.bench.store.facts(&[blob], wanted).await
    };
    assert!(facts(0).await.is_ok());
    assert!(matches!(facts(1).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn a_store_of_a_newer_layout_is_refused_and_left_alone() {
    let (place, clock) = (Place::new(), clock());
    drop(idle(&place, &clock, Options::default()));
    let newer = layout::VERSION + 1;
    query_none(&place, &format!("PRAGMA user_version = {newer}"));
    let opened = open(place.path(), Options::default(), clock);
    let Err(StoreError::Unavailable(why)) = opened else { panic!("opened") };
    assert!(why.contains("newer Postfach") && why.contains("restore a backup"), "{why}");
    assert_eq!(query::<i64>(&place, "PRAGMA user_version"), newer as i64);
}
