//! A store is moved whole, or what is missing is told; whoever interrupts it is taken up again.

#![allow(clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::store::Store;
use crate::store::change::{Change, Delivered, NewMessage};
use crate::store::contract::engines::{Folder, Running, clock, unlocked};
use crate::store::contract::{Bench, delivery, message};
use crate::store::embedded::{self, Options, migrate as ends};

/// A store with some of everything that tells tables apart: small messages, more of them than may
/// be at hand at a time, and two that go through a file.
pub(in crate::store) async fn filled(folder: &Path) {
    let clock = clock();
    let running = Running::open(folder, &clock);
    let bench = Bench { store: Arc::new(running.store.clone()), clock };
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 70).await;
    bench.see(mailbox, "anna", "3:9").await;
    for (number, length) in [(1, 200_000), (2, 200_000), (3, 600_000), (4, 5_000_000)] {
        bench.one(large(mailbox, number, length)).await;
    }
    bench.expunge(mailbox, "5,7").await;
    drop(bench);
    running.close().expect("closes");
}

fn large(mailbox: crate::mail::id::MailboxId, number: u8, length: usize) -> Change {
    let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8 ^ number).collect();
    let Change::Delivered(of) = delivery(mailbox, &format!("large {number}")) else {
        panic!("one")
    };
    let hash = *blake3::hash(&bytes).as_bytes();
    let parsed = message(&format!("large {number}")).parsed;
    let message = NewMessage { bytes: Bytes::Memory(Arc::new(bytes)), hash, parsed };
    Change::Delivered(Box::new(Delivered { message, ..*of }))
}

async fn moved(from: &Path, to: &Path) -> Result<(), Stopped> {
    let mut from = ends::source(from).expect("a source");
    let mut target = ends::target(to).expect("a target");
    run((&mut from, &mut target), to.join("scratch"), &mut |_| {}).await
}

/// What a table says, from the outside.
fn rows(folder: &Path, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(folder.join("store.db")).expect("opens");
    let count = format!("SELECT count(*) FROM {table}");
    connection.query_row(&count, [], |row| row.get(0)).expect("counts")
}

fn change(folder: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("store.db")).expect("opens");
    assert!(connection.execute(sql, []).expect("changes") > 0);
}

fn is_unfit(result: Result<(), Stopped>, words: &str) {
    match result {
        Err(Stopped::Unfit(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("not unfit: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_is_moved_with_all_its_tables_and_opens() {
    let (from, to) = (Folder::new(), Folder::new());
    filled(from.path()).await;
    let mut reports = Vec::new();
    {
        let mut source = ends::source(from.path()).expect("a source");
        let mut target = ends::target(to.path()).expect("a target");
        let mut watch = |report: &Report<'_>| reports.push((report.phase, report.rows));
        let scratch = to.path().join("scratch");
        run((&mut source, &mut target), scratch.clone(), &mut watch).await.expect("moved");
        assert!(!scratch.exists(), "nothing is left of large messages");
    }
    for table in shared() {
        assert_eq!(rows(from.path(), &table.name), rows(to.path(), &table.name), "{}", table.name);
    }
    let total = reports.last().expect("reports").1.1;
    assert!(total > 400 && reports.iter().all(|(_, rows)| rows.1 == total));
    for phase in [Phase::Copying, Phase::Verifying] {
        let last = reports.iter().rfind(|report| report.0 == phase).expect("reports");
        assert_eq!(last.1, (total, total));
    }
    let clock = clock();
    let running = Running::open(to.path(), &clock);
    let store: &dyn Store = &running.store;
    let mailbox = store.mailboxes(&crate::store::contract::inbox("Support"))[0].id;
    let snapshot = store.snapshot(mailbox).await.expect("there");
    assert_eq!(snapshot.len(), 72);
    let last = snapshot.iter().last().expect("a message");
    let body = store.body(last.blob, 0..u64::MAX).await.expect("whole");
    assert_eq!(body.len(), 5_000_000);
    running.close().expect("closes");
}

/// A side that is gone when it has put so often, as by kill -9: before or behind the last one.
pub(in crate::store) struct Dying {
    end: Box<dyn End>,
    puts: usize,
    late: bool,
}

impl Dying {
    pub(in crate::store) fn new(side: Side, puts: usize, late: bool) -> Dying {
        Dying { end: side.0, puts, late }
    }
}

fn died<'a, T: Send + 'a>() -> Answer<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::Unavailable("killed".into()))))
}

impl End for Dying {
    fn notes(&mut self) -> Answer<'_, Option<HashMap<String, Vec<u8>>>> {
        self.end.notes()
    }

    fn mark<'a>(&'a mut self, note: (&'a str, &'a [u8])) -> Answer<'a, ()> {
        self.end.mark(note)
    }

    fn unmark(&mut self) -> Answer<'_, ()> {
        if self.puts == 0 { died() } else { self.end.unmark() }
    }

    fn count<'a>(&'a mut self, table: &'static Table) -> Answer<'a, u64> {
        self.end.count(table)
    }

    fn rows<'a>(
        &'a mut self,
        table: &'static Table,
        after: Option<&'a Row>,
    ) -> Answer<'a, Vec<Row>> {
        self.end.rows(table, after)
    }

    fn bodies<'a>(&'a mut self, messages: &'a [Located]) -> Answer<'a, Vec<Vec<u8>>> {
        self.end.bodies(messages)
    }

    fn piece(&mut self, message: Located, range: Range<u64>) -> Answer<'_, Vec<u8>> {
        self.end.piece(message, range)
    }

    fn put(&mut self, batch: Batch) -> Answer<'_, ()> {
        let Some(left) = self.puts.checked_sub(1) else { return died() };
        self.puts = left;
        if left > 0 || self.late {
            let put = self.end.put(batch);
            let dies = left == 0;
            return Box::pin(async move {
                put.await?;
                if dies { died().await } else { Ok(()) }
            });
        }
        died()
    }
}

#[tokio::test]
async fn whoever_is_killed_at_any_put_goes_on_there() {
    let from = Folder::new();
    filled(from.path()).await;
    let mut interrupted = 0;
    for late in [false, true] {
        let to = Folder::new();
        for puts in 1.. {
            let mut source = unlocked(|| ends::source(from.path()));
            let target = unlocked(|| ends::target(to.path()));
            let mut target = Side::new(Dying { end: target.0, puts: 1 + puts % 3, late });
            let scratch = to.path().join("scratch");
            match run((&mut source, &mut target), scratch, &mut |_| {}).await {
                Ok(()) => break,
                Err(Stopped::HalfWay(StoreError::Unavailable(why))) => assert_eq!(why, "killed"),
                Err(other) => panic!("{other:?}"),
            }
            drop(target);
            interrupted += 1;
            let refused = || match embedded::open(to.path(), Options::default(), clock()) {
                Err(StoreError::Unavailable(why)) if why.contains("not complete") => Ok(why),
                Err(error) => Err(error),
                Ok(_) => panic!("a daemon takes it"),
            };
            let why = unlocked(refused);
            assert!(why.contains("not complete"), "{why}");
        }
        for table in shared() {
            assert_eq!(rows(from.path(), &table.name), rows(to.path(), &table.name));
        }
        Running::open(to.path(), &clock()).close().expect("opens and closes");
    }
    assert!(interrupted > 30, "{interrupted}");
}

#[tokio::test]
async fn only_an_empty_target_or_the_same_migration_is_gone_on_with() {
    let (from, other, to) = (Folder::new(), Folder::new(), Folder::new());
    filled(from.path()).await;
    filled(other.path()).await;
    is_unfit(moved(from.path(), other.path()).await, "not empty");
    let begun = |to: &Path| {
        Side::new(Dying { end: ends::target(to).expect("a target").0, puts: 9, late: false })
    };
    let scratch = to.path().join("scratch");
    let mut source = ends::source(from.path()).expect("a source");
    let mut target = begun(to.path());
    let stopped = run((&mut source, &mut target), scratch.clone(), &mut |_| {}).await;
    assert!(matches!(stopped, Err(Stopped::HalfWay(_))), "{stopped:?}");
    drop((source, target));
    change(other.path(), "UPDATE mailbox SET uid_next = uid_next + 1");
    is_unfit(moved(other.path(), to.path()).await, "another store");
    is_unfit(moved(to.path(), Folder::new().path()).await, "not complete");
    moved(from.path(), to.path()).await.expect("moved");
    is_unfit(moved(from.path(), to.path()).await, "not empty");
}

#[tokio::test]
async fn a_store_in_use_is_not_moved() {
    let (from, to) = (Folder::new(), Folder::new());
    let running = Running::open(from.path(), &clock());
    assert!(matches!(ends::source(from.path()), Err(StoreError::Unavailable(_))));
    running.close().expect("closes");
    let held = ends::source(from.path()).expect("a source");
    assert!(embedded::open(from.path(), Options::default(), clock()).is_err(), "it is held");
    drop(held);
    let Err(StoreError::Unavailable(why)) = ends::source(to.path()) else { panic!("no store") };
    assert!(why.contains("there is no store"), "{why}");
}

#[tokio::test]
async fn what_differs_is_found() {
    let from = Folder::new();
    filled(from.path()).await;
    let damages = [
        "UPDATE instance SET flags = flags + 1 WHERE uid = 2",
        "DELETE FROM body_text WHERE id = 1",
        "UPDATE overlay SET login = 'bob'",
        "UPDATE message SET start = start + 1 WHERE id = 3",
    ];
    for damage in damages {
        let to = Folder::new();
        let mut source = ends::source(from.path()).expect("a source");
        let mut target = ends::target(to.path()).expect("a target");
        let mut watch: Box<dyn FnMut(&Report<'_>)> = Box::new(|_| {});
        let mut watcher = Watcher::new(&mut *source.0, &mut watch).await.expect("counts");
        let scratch = to.path().join("scratch");
        copy::all((&mut *source.0, &mut *target.0), scratch, &mut watcher).await.expect("copied");
        drop((source, target));
        change(to.path(), damage);
        let result = moved(from.path(), to.path()).await;
        assert!(matches!(result, Err(Stopped::Differs(_))), "{damage}: {result:?}");
    }
}

#[tokio::test]
async fn a_damaged_message_stops_it_half_way() {
    let (from, to) = (Folder::new(), Folder::new());
    filled(from.path()).await;
    change(from.path(), "UPDATE message SET start = start + 1 WHERE id = 3");
    let result = moved(from.path(), to.path()).await;
    assert!(matches!(result, Err(Stopped::HalfWay(StoreError::Corrupt(_)))), "{result:?}");
}

#[test]
fn the_list_of_tables_is_that_of_the_database() {
    let folder = Folder::new();
    drop(ends::target(folder.path()).expect("makes a store"));
    let connection = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
    let text = |sql: &str| {
        let mut query = connection.prepare(sql).expect("prepares");
        let rows = query.query_map([], |row| row.get::<_, String>(0)).expect("asks");
        rows.collect::<Result<Vec<_>, _>>().expect("reads")
    };
    let mut known: Vec<&str> = tables().iter().map(|table| table.name.as_str()).collect();
    known.sort_unstable();
    let there = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
        ORDER BY name";
    assert_eq!(text(there), known);
    for table in tables() {
        let of = format!("FROM pragma_table_info('{}')", table.name);
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(text(&format!("SELECT name {of} ORDER BY cid")), names, "{}", table.name);
        let key: Vec<&str> = table.key.iter().map(|at| names[*at]).collect();
        assert_eq!(text(&format!("SELECT name {of} WHERE pk > 0 ORDER BY pk")), key);
    }
}
