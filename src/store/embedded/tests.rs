//! What the embedded engine promises beyond the contract: what is acknowledged is there after a
//! restart, disks fail without harm, mailboxes come and go from memory, dead bytes are freed.

mod audit;
mod lookup;
mod lost;
mod nodes;
mod queue;
mod upgrade;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::pack::{Faults, HEADER_BYTES, PACK_BYTES_MAX};
use super::*;
use crate::store::change::{About, Bytes, Change};
use crate::store::contract::engines::{Folder as Place, Running, clock};
use crate::store::contract::{self, Bench, delivered, delivery, keywords};
use crate::store::state::MAILBOX_COST;
use crate::sys::ManualClock;

/// An engine whose writer is not running yet, so that a test can reach into it.
struct Idle {
    bench: Bench,
    store: Embedded,
    writer: Writer,
}

type Thread = JoinHandle<Result<(), StoreError>>;

fn idle(place: &Place, clock: &Arc<ManualClock>, options: Options) -> Idle {
    let (store, writer) = open(place.path(), options, clock.clone()).expect("opens");
    let bench = Bench { store: Arc::new(store.clone()), clock: clock.clone() };
    Idle { bench, store, writer }
}

fn start(idle: Idle) -> (Bench, Embedded, Thread) {
    (idle.bench, idle.store, std::thread::spawn(|| idle.writer.run()))
}

fn close((bench, store, thread): (Bench, Embedded, Thread)) -> Result<(), StoreError> {
    drop((bench, store));
    thread.join().expect("the writer does not panic")
}

fn loaded(store: &Embedded, id: MailboxId) -> bool {
    let board = store.0.shared.board();
    board.state.held(id).is_some_and(|held| held.loaded().is_ok())
}

fn sweep_all(writer: &mut Writer) {
    while writer.sweep().expect("sweeps") {}
}

#[tokio::test]
async fn one_data_directory_is_opened_once() {
    let (place, clock) = (Place::new(), clock());
    let running = Running::open(place.path(), &clock);
    let second = open(place.path(), Options::default(), clock.clone());
    assert!(matches!(second, Err(StoreError::Unavailable(_))));
    assert_eq!(running.close(), Ok(()));
}

#[tokio::test]
async fn stop_ends_the_writer_after_what_came_before() {
    let (place, clock) = (Place::new(), clock());
    let (bench, store, thread) = start(idle(&place, &clock, Options::default()));
    let mailbox = bench.inbox().await;
    store.stop();
    assert_eq!(thread.join().expect("no panic"), Ok(()));
    let late = bench.commit(vec![delivery(mailbox, "late")]).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))));
    assert_eq!(bench.uids(mailbox).await, [0u32; 0], "reading goes on");
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver_many(mailbox, 300).await;
    running.0.flag(mailbox, "7", keywords(&["a", "b"])).await;
    running.0.see(mailbox, "anna", "1:200").await;
    running.0.expunge(mailbox, "3,290:300").await;
    for (user, about) in
        [(None, About::Server), (Some(Login::new("anna")), About::Mailbox(mailbox))]
    {
        let (entry, value) = ("/x".to_owned(), Some(Arc::from(&b"noted\0"[..])));
        running.0.one(Change::MetadataSet { user, about, entry, value }).await;
    }
    let before = running.0.snapshot(mailbox).await;
    let overlay = running.0.overlay(mailbox, "anna").await;
    assert_eq!(close(running), Ok(()));

    let running = start(idle(&place, &clock, Options::default()));
    let snapshot = running.0.snapshot(mailbox).await;
    assert!(snapshot.iter().eq(before.iter()));
    let heads = [&snapshot, &before].map(|s| (s.uid_next, s.highest_modseq, s.keywords.clone()));
    assert_eq!(heads[0], heads[1]);
    let after = running.0.overlay(mailbox, "anna").await;
    assert_eq!(Overlay::changed_uids(&overlay, &after), []);
    assert_eq!(running.0.unseen(mailbox, "anna").await, 288 - 199);
    let recent = running.0.store.status(mailbox, &Login::new("anna"), SeenMode::PerUser).await;
    assert_eq!(recent.expect("exists").recent, 0, "what is older than the start is not recent");
    let noted = |user: Option<&Login>| running.0.store.metadata(user).keys().next().cloned();
    assert_eq!(noted(None), Some((None, "/x".to_owned())));
    assert_eq!(noted(Some(&Login::new("anna"))), Some((Some(mailbox), "/x".to_owned())));
    assert_eq!(running.0.deliver(mailbox, "next").await, Uid(301));
    assert_eq!(running.0.store.claim_recent(mailbox, &Login::new("anna")), Uid(301));
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_failing_transaction_does_not_harm_its_group() {
    let (place, clock) = (Place::new(), clock());
    let idle = idle(&place, &clock, Options::default());
    let state = idle.store.clone();
    let (bench, store, thread) = start(idle);
    let mailbox = bench.inbox().await;
    let gone = MailboxId(4711);
    let commits = (0..200).map(|n| {
        let to = if n % 3 == 0 { gone } else { mailbox };
        let text = format!("message {}", n % 50);
        let changes = vec![delivery(mailbox, &text), delivery(to, "same")];
        let actor = crate::store::change::Actor::Delivery;
        tokio::spawn({
            let store = state.clone();
            async move { store.commit(Transaction { actor, changes }).await }
        })
    });
    let mut uids = Vec::new();
    for (n, commit) in commits.collect::<Vec<_>>().into_iter().enumerate() {
        match commit.await.expect("no panic") {
            Ok(receipt) => uids.extend(receipt.outcomes.iter().map(contract::stored)),
            Err(error) => assert_eq!((n % 3, error), (0, StoreError::Gone)),
        }
    }
    uids.sort_unstable();
    assert_eq!(uids, (1..=266).map(Uid).collect::<Vec<_>>());
    let blobs: std::collections::BTreeSet<BlobId> =
        bench.snapshot(mailbox).await.iter().map(|entry| entry.blob).collect();
    assert_eq!(blobs.len(), 51, "same hash, same blob, also within a group");
    for blob in blobs {
        bench.store.body(blob, 0..u64::MAX).await.expect("matches its hash");
    }
    drop(state);
    assert_eq!(close((bench, store, thread)), Ok(()));
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (place, clock) = (Place::new(), clock());
    let idle = idle(&place, &clock, Options::default());
    let faults = idle.writer.pack.faults.clone();
    let running = start(idle);
    let bench = &running.0;
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let before = bench.snapshot(mailbox).await;
    faults.0.store(Faults::WRITE_NO_SPACE, Ordering::SeqCst);
    let refused = bench.commit(vec![delivery(mailbox, "two")]).await;
    assert!(matches!(refused, Err(StoreError::NoSpace(_))));
    assert_eq!(bench.snapshot(mailbox).await, before, "nothing is shown that is not durable");
    faults.0.store(0, Ordering::SeqCst);
    assert_eq!(bench.deliver(mailbox, "three").await, Uid(2));
    let body = bench.store.body(bench.entry(mailbox, 2).await.blob, 0..99).await;
    assert!(body.expect("matches its hash").ends_with(b"three\r\n"));
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_full_database_refuses_and_recovers() {
    let (place, clock) = (Place::new(), clock());
    let idle = idle(&place, &clock, Options::default());
    idle.writer.connection.pragma_update(None, "max_page_count", 60).expect("sets");
    let running = start(idle);
    let bench = &running.0;
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let mut big = delivered(mailbox, "big");
    let parsed = Arc::make_mut(&mut big.message.parsed);
    parsed.fields = vec![b'x'; 2 << 20];
    let refused = bench.commit(vec![Change::Delivered(Box::new(big))]).await;
    assert!(matches!(refused, Err(StoreError::NoSpace(_))), "{refused:?}");
    assert_eq!(bench.deliver(mailbox, "three").await, Uid(2));
    assert_eq!(close(running), Ok(()));
    let running = start(super::tests::idle(&place, &clock, Options::default()));
    assert_eq!(running.0.uids(mailbox).await, [1, 2]);
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_failed_sync_is_final() {
    let (place, clock) = (Place::new(), clock());
    let idle = idle(&place, &clock, Options::default());
    let faults = idle.writer.pack.faults.clone();
    let running = start(idle);
    let mailbox = running.0.inbox().await;
    faults.0.store(Faults::SYNC_FAILS, Ordering::SeqCst);
    let refused = running.0.commit(vec![delivery(mailbox, "two")]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    faults.0.store(0, Ordering::SeqCst);
    let later = running.0.commit(vec![delivery(mailbox, "three")]).await;
    assert!(matches!(later, Err(StoreError::Unavailable(_))), "a sync is never tried again");
    assert!(running.0.uids(mailbox).await.is_empty());
    assert!(close(running).is_err());

    let running = start(super::tests::idle(&place, &clock, Options::default()));
    assert_eq!(running.0.deliver(mailbox, "after the restart").await, Uid(1));
    assert_eq!(close(running), Ok(()));
}

/// What a power cut leaves behind the committed end: nothing, garbage, or half a record.
#[tokio::test]
async fn a_pack_is_cut_at_its_committed_end() {
    let (place, clock) = (Place::new(), clock());
    let pack = place.path().join("packs/00000001.pack");
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "message 0").await;
    assert_eq!(close(running), Ok(()));
    for (round, garbage) in [0usize, 1, 47, 48, 5000, 3 << 20].into_iter().enumerate() {
        let committed = std::fs::metadata(&pack).expect("there").len();
        let mut bytes = std::fs::read(&pack).expect("reads");
        bytes.extend(std::iter::repeat_n(0xA5, garbage));
        std::fs::write(&pack, bytes).expect("writes");
        std::fs::write(place.path().join("packs/00000002.pack"), b"never committed").expect("ok");
        let running = start(idle(&place, &clock, Options::default()));
        assert_eq!(std::fs::metadata(&pack).expect("there").len(), committed);
        assert!(!place.path().join("packs/00000002.pack").exists());
        running.0.deliver(mailbox, &format!("message {}", round + 1)).await;
        for entry in running.0.snapshot(mailbox).await.iter() {
            let body = running.0.store.body(entry.blob, 0..99).await.expect("matches its hash");
            assert!(body.ends_with(format!("message {}\r\n", entry.uid.0 - 1).as_bytes()));
        }
        assert_eq!(close(running), Ok(()));
    }
}

#[tokio::test]
async fn a_pack_that_lost_committed_bytes_is_not_opened() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "one").await;
    assert_eq!(close(running), Ok(()));
    let pack = File::options().write(true).open(place.path().join("packs/00000001.pack"));
    let pack = pack.expect("there");
    pack.set_len(pack.metadata().expect("there").len() - 1).expect("cuts");
    let opened = open(place.path(), Options::default(), clock.clone());
    assert!(matches!(opened, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn a_damaged_message_is_not_shown() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "one").await;
    let path = place.path().join("packs/00000001.pack");
    let pack = File::options().write(true).open(path).expect("there");
    std::os::unix::fs::FileExt::write_all_at(&pack, b"X", HEADER_BYTES + 3).expect("writes");
    let body = running.0.store.body(running.0.entry(mailbox, 1).await.blob, 0..999).await;
    assert!(matches!(body, Err(StoreError::Corrupt(_))));
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_full_pack_gets_no_further_group() {
    let (place, clock) = (Place::new(), clock());
    let mut idle = idle(&place, &clock, Options::default());
    let hash = *blake3::hash(b"").as_bytes();
    let filler = Bytes::Memory(Arc::new(vec![0; (PACK_BYTES_MAX / 2) as usize]));
    idle.writer.pack.append(&hash, &filler).expect("writes");
    let running = start(idle);
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "below the limit: the same pack").await;
    let (bench, store, thread) = running;
    store.stop();
    assert_eq!(thread.join().expect("no panic"), Ok(()));
    drop((bench, store));

    let mut idle = super::tests::idle(&place, &clock, Options::default());
    idle.writer.pack.append(&hash, &filler).expect("writes");
    let running = start(idle);
    running.0.deliver(mailbox, "beyond it, but this group began below").await;
    running.0.deliver(mailbox, "the next pack").await;
    assert!(place.path().join("packs/00000002.pack").exists());
    for entry in running.0.snapshot(mailbox).await.iter() {
        running.0.store.body(entry.blob, 0..999).await.expect("matches its hash");
    }
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn delivery_does_not_load_the_mailbox() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "one").await;
    assert_eq!(close(running), Ok(()));
    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.deliver(mailbox, "two").await, Uid(2));
    assert!(!loaded(&running.1, mailbox));
    assert_eq!(running.0.uids(mailbox).await, [1, 2]);
    assert!(loaded(&running.1, mailbox));
    assert_eq!(running.0.deliver(mailbox, "three").await, Uid(3));
    assert_eq!(running.0.uids(mailbox).await, [1, 2, 3]);
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn mailboxes_that_nobody_holds_leave_memory() {
    let (place, clock) = (Place::new(), clock());
    let limit =
        Options { readers: 1, cached_messages_max: 10 + 3 * MAILBOX_COST, ..Options::default() };
    let running = start(idle(&place, &clock, limit));
    let mut mailboxes = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let mailbox = running.0.create(&Account::Inbox(name.into()), "").await;
        running.0.deliver_many(mailbox, 5).await;
        mailboxes.push(mailbox);
    }
    let held = running.0.snapshot(mailboxes[1]).await;
    for round in 0..3 {
        for mailbox in &mailboxes {
            assert_eq!(running.0.uids(*mailbox).await, [1, 2, 3, 4, 5]);
            running.0.see(*mailbox, "anna", &format!("{}", round + 1)).await;
        }
    }
    running.1.0.jobs.send(Job::Evict).expect("runs");
    // Jobs are done in order: once the second group is answered, the eviction is over.
    running.0.deliver(mailboxes[3], "one group").await;
    running.0.deliver(mailboxes[3], "another").await;
    let in_memory = mailboxes.iter().filter(|id| loaded(&running.1, **id)).count();
    assert!((1..4).contains(&in_memory), "{in_memory}");
    assert_eq!(held.len(), 5);
    for mailbox in &mailboxes {
        assert_eq!(running.0.overlay(*mailbox, "anna").await.seen_count(), 3);
    }
    assert_eq!(close(running), Ok(()));
}

/// Loading, evicting and committing at once: every snapshot is one that was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_committers_do_not_confuse_each_other() {
    let (place, clock) = (Place::new(), clock());
    let options = Options { readers: 2, cached_messages_max: 0, ..Options::default() };
    let (bench, store, thread) = start(idle(&place, &clock, options));
    let mailbox = bench.inbox().await;
    let committer = |user: &'static str| {
        let bench = Bench { store: bench.store.clone(), clock: clock.clone() };
        tokio::spawn(async move {
            for n in 0..60u32 {
                let uid = bench.deliver(mailbox, &format!("{user} {n}")).await;
                if n % 4 == 0 {
                    bench.see(mailbox, user, &uid.0.to_string()).await;
                }
            }
        })
    };
    let committers = ["anna", "ben", "carla"].map(committer);
    let mut last = ModSeq(0);
    while !committers.iter().all(|task| task.is_finished()) {
        let snapshot = bench.snapshot(mailbox).await;
        assert!(snapshot.highest_modseq >= last);
        last = snapshot.highest_modseq;
        assert_eq!(snapshot.uid_next.0 as usize, snapshot.len() + 1);
        assert!(snapshot.iter().enumerate().all(|(n, entry)| entry.uid.0 as usize == n + 1));
        drop(snapshot);
        store.0.jobs.send(Job::Evict).expect("runs");
        tokio::task::yield_now().await;
    }
    for committer in committers {
        committer.await.expect("no panic");
    }
    assert_eq!(bench.uids(mailbox).await.len(), 180);
    assert_eq!(bench.overlay(mailbox, "ben").await.seen_count(), 15);
    assert_eq!(close((bench, store, thread)), Ok(()));
}

#[tokio::test]
async fn what_no_mailbox_holds_is_freed_after_a_grace_period() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let (mailbox, other) =
        (running.0.inbox().await, running.0.create(&Account::Inbox("Sales".into()), "").await);
    running.0.deliver_many(mailbox, 3).await;
    running.0.deliver(other, "message 2").await;
    let snapshot = running.0.snapshot(mailbox).await;
    running.0.expunge(mailbox, "1:2").await;
    running.0.one(Change::MailboxDeleted { mailbox }).await;
    let again = running.0.deliver(other, "message 3").await;
    assert_eq!(running.0.entry(other, again.0).await.blob, snapshot.nth(2).expect("three").blob);
    assert_eq!(close(running), Ok(()));

    let still_there = async |bench: &Bench| {
        let mut there = Vec::new();
        for entry in snapshot.iter() {
            let body = bench.store.body(entry.blob, 0..99).await;
            there.push((body.is_ok(), bench.store.trace(entry.trace).await.is_ok()));
        }
        there
    };
    let mut idle = idle(&place, &clock, Options::default());
    sweep_all(&mut idle.writer);
    assert_eq!(still_there(&idle.bench).await, [(true, true); 3]);
    clock.set(Timestamp::from_seconds(contract::START + sweep::GRACE_SECS));
    sweep_all(&mut idle.writer);
    assert_eq!(still_there(&idle.bench).await, [(false, false), (true, false), (true, false)]);
    let wanted = FactsWanted { fields: true, ..FactsWanted::default() };
    let blobs: Vec<BlobId> = snapshot.iter().map(|entry| entry.blob).collect();
    let facts = idle.bench.store.facts(&blobs, wanted).await.expect("answers");
    assert_eq!(facts.iter().filter(|facts| facts.fields.is_empty()).count(), 1);
}

#[tokio::test]
async fn a_pack_that_is_mostly_dead_is_rewritten() {
    let (place, clock) = (Place::new(), clock());
    let first = place.path().join("packs/00000001.pack");
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver_many(mailbox, 20).await;
    assert_eq!(close(running), Ok(()));
    let mut at_work = idle(&place, &clock, Options::default());
    at_work.writer.pack.roll().expect("rolls");
    let running = start(at_work);
    running.0.deliver(mailbox, "in the second pack").await;
    running.0.expunge(mailbox, "1:8").await;
    assert_eq!(close(running), Ok(()));

    clock.set(Timestamp::from_seconds(contract::START + sweep::GRACE_SECS));
    let mut at_work = idle(&place, &clock, Options::default());
    sweep_all(&mut at_work.writer);
    assert!(first.exists(), "less than half of it is dead");
    let running = start(at_work);
    running.0.expunge(mailbox, "9:14").await;
    assert_eq!(close(running), Ok(()));

    clock.set(Timestamp::from_seconds(contract::START + 2 * sweep::GRACE_SECS));
    let mut at_work = idle(&place, &clock, Options::default());
    at_work.bench.store.body(at_work.bench.entry(mailbox, 20).await.blob, 0..9).await.expect("ok");
    sweep_all(&mut at_work.writer);
    assert!(!first.exists());
    let check = async |bench: &Bench| {
        for entry in bench.snapshot(mailbox).await.iter() {
            bench.store.body(entry.blob, 0..999).await.expect("matches its hash");
        }
    };
    check(&at_work.bench).await;
    let running = start(at_work);
    running.0.deliver(mailbox, "after it").await;
    check(&running.0).await;
    assert_eq!(close(running), Ok(()));
    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.uids(mailbox).await, [15, 16, 17, 18, 19, 20, 21, 22]);
    check(&running.0).await;
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_full_group_leaves_the_rest_for_the_next() {
    let (place, clock) = (Place::new(), clock());
    let at_work = idle(&place, &clock, Options::default());
    let store = at_work.store.clone();
    let permits = store.0.permits.clone();
    let count = writer::GROUP_TRANSACTIONS_MAX + 1;
    let mut answers = Vec::new();
    for _ in 0..count {
        let (answer, receipt) = oneshot::channel();
        let permit = permits.clone().acquire_owned().await.expect("open");
        let changes = Vec::new();
        let actor = crate::store::change::Actor::System;
        let transaction = Transaction { actor, changes };
        let encoded = HashMap::new();
        let commit = Commit { transaction, encoded, bytes: 0, answer, permit };
        store.0.jobs.send(Job::Commit(Box::new(commit))).expect("open");
        answers.push(receipt);
    }
    let first = at_work.writer.jobs.try_recv().expect("waits");
    assert_eq!(at_work.writer.batch(first).commits.len(), count - 1);
    assert!(at_work.writer.jobs.try_recv().is_ok());
}

#[test]
fn queries_number_their_parameters_in_order_of_first_use() {
    let text = include_str!("../sql/mod.rs");
    for query in text.split('"').skip(1).step_by(2).filter(|query| query.contains("$1")) {
        let mut highest = 0;
        for number in query.split('$').skip(1) {
            let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
            let number: u32 = digits.parse().expect("a number");
            assert!(number <= highest + 1, "{query}");
            highest = highest.max(number);
        }
    }
}
