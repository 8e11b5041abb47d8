//! A server that is stopped, killed, paused, or out of reach: everybody is told at once, and what
//! was acknowledged is there afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Config;

use super::super::{Options, Postgres};
use super::server::{Node, Server};
use crate::mail::id::{MailboxId, Uid};
use crate::store::change::{Actor, Change, Outcome, Transaction};
use crate::store::contract::engines::clock;
use crate::store::contract::{Bench, delivered, inbox, login, personal};
use crate::store::{FactsWanted, Store, StoreError};
use crate::sys::ManualClock;

/// How long it may take until everybody is told that the database is gone.
const DISCOVERED: Duration = Duration::from_secs(4);
/// How long, once it is known.
const AT_ONCE: Duration = Duration::from_millis(50);
/// How long until all is well again.
const RECOVERED: Duration = Duration::from_secs(6);

struct World {
    server: Server,
    config: Config,
    clock: Arc<ManualClock>,
    node: Node,
    mailbox: MailboxId,
    delivered: usize,
}

impl World {
    async fn new() -> World {
        let server = Server::start();
        let config = server.config(&server.schema().await);
        let clock = clock();
        let node = Node::start(&config, &clock, Options::default()).await;
        let bench = Bench { store: Arc::new(node.store.clone()), clock: clock.clone() };
        let mailbox = bench.inbox().await;
        let mut world = World { server, config, clock, node, mailbox, delivered: 0 };
        world.deliver().await.expect("stored");
        world
    }

    fn store(&self) -> Postgres {
        self.node.store.clone()
    }

    /// Each message has a duplicate key, as mail has: whoever is not told tries again.
    async fn deliver(&mut self) -> Result<Outcome, StoreError> {
        let number = self.delivered + 1;
        let mut it = delivered(self.mailbox, &format!("message {number}"));
        it.duplicate_key = Some([number as u8; 32]);
        let changes = vec![Change::Delivered(Box::new(it))];
        let receipt = self.store().commit(Transaction { actor: Actor::Delivery, changes }).await?;
        self.delivered = number;
        Ok(receipt.outcomes[0].clone())
    }

    /// Tries until it is told that the database is gone.
    async fn discovers(&mut self) {
        let from = Instant::now();
        while self.deliver().await.is_ok() {}
        assert!(from.elapsed() < DISCOVERED, "told after {:?}", from.elapsed());
    }

    /// Commits and reads are refused without waiting; what is in memory can be read.
    async fn is_refused_at_once(&mut self) {
        let store = self.store();
        let from = Instant::now();
        assert!(matches!(self.deliver().await, Err(StoreError::Unavailable(_))));
        let snapshot = store.snapshot(self.mailbox).await.expect("it is in memory");
        let entry = snapshot.nth(0).expect("one").clone();
        let wanted = FactsWanted { envelope: true, ..FactsWanted::default() };
        let unavailable = |error| matches!(error, StoreError::Unavailable(_));
        assert!(store.facts(&[entry.blob], wanted).await.is_err_and(unavailable));
        assert!(store.body(entry.blob, 0..1).await.is_err_and(unavailable));
        assert!(store.trace(entry.trace).await.is_err_and(unavailable));
        assert!(from.elapsed() < AT_ONCE, "told after {:?}", from.elapsed());
    }

    /// Tries as a sender does until it is taken.
    async fn recovers(&mut self) {
        let from = Instant::now();
        while self.deliver().await.is_err() {
            assert!(from.elapsed() < RECOVERED, "it does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What was acknowledged is there, once, on this node and on one that comes now.
    async fn has_all(self) {
        let other = Node::start(&self.config, &self.clock, Options::default()).await;
        for store in [&self.node.store, &other.store] {
            let snapshot = store.snapshot(self.mailbox).await.expect("there");
            let uids: Vec<Uid> = snapshot.iter().map(|entry| entry.uid).collect();
            let expected: Vec<Uid> = (1..=self.delivered as u32).map(Uid).collect();
            assert_eq!(uids, expected);
            let body = store.body(snapshot.nth(0).expect("one").blob, 0..99).await;
            assert!(String::from_utf8_lossy(&body.expect("there")).contains("message 1"));
        }
        other.stop().await;
        self.node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_told_of_at_once_and_comes_back() {
    let mut world = World::new().await;
    let watch = world.store().watch(world.mailbox);
    world.server.signal("KILL");
    world.discovers().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.is_refused_at_once().await;
    world.server.restart();
    world.recovers().await;
    assert!(watch.has_changed().expect("sessions stay"));
    world.has_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_restarted_loses_nothing() {
    let mut world = World::new().await;
    for _ in 0..2 {
        world.server.shut_down();
        world.discovers().await;
        world.server.restart();
        world.recovers().await;
    }
    world.has_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_found_out() {
    let mut world = World::new().await;
    for _ in 0..2 {
        world.server.signal("STOP");
        world.discovers().await;
        world.is_refused_at_once().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.is_refused_at_once().await;
        world.server.signal("CONT");
        world.recovers().await;
    }
    world.has_all().await;
}

/// Under load, with a server that is paused and continued, killed and restarted at any moment: a
/// sender that tries again until it is told has each message stored once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_in_an_outage_is_stored_once() {
    let mut world = World::new().await;
    let bench = Bench { store: Arc::new(world.store()), clock: world.clock.clone() };
    let mut mailboxes = Vec::new();
    for name in ["a", "b", "c", "d"] {
        mailboxes.push(bench.create(&personal(name), "").await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let sending = |mailbox: MailboxId| {
        let (store, stopped) = (world.store(), stopped.clone());
        tokio::spawn(async move {
            let mut number = 0u32;
            while !*stopped.borrow() {
                let mut it = delivered(mailbox, &format!("message {number} for {}", mailbox.0));
                it.duplicate_key = Some(it.message.hash);
                let changes = vec![Change::Delivered(Box::new(it))];
                let transaction = Transaction { actor: Actor::Delivery, changes };
                match store.commit(transaction).await {
                    Ok(_) => number += 1,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            number
        })
    };
    let senders: Vec<_> = mailboxes.iter().map(|mailbox| sending(*mailbox)).collect();
    for pause_ms in [300, 2600] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.server.signal("STOP");
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        world.server.signal("CONT");
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.server.signal("KILL");
        world.server.restart();
    }
    world.recovers().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.send_replace(true);
    let other = Node::start(&world.config, &world.clock, Options::default()).await;
    for (sender, mailbox) in senders.into_iter().zip(mailboxes) {
        let acknowledged = sender.await.expect("no panic");
        assert!(acknowledged > 0);
        for store in [&world.node.store, &other.store] {
            let snapshot = store.snapshot(mailbox).await.expect("there");
            let blobs: std::collections::BTreeSet<_> = snapshot.iter().map(|e| e.blob).collect();
            assert_eq!(blobs.len(), snapshot.len(), "each once");
            // the last one may have been written without anybody being told
            let more = snapshot.len() as u32 - acknowledged;
            assert!(more <= 1, "{acknowledged} acknowledged, {} there", snapshot.len());
        }
    }
    other.stop().await;
    world.has_all().await;
}

#[tokio::test]
async fn a_node_that_was_cut_off_for_longer_than_the_log_reaches_loads_all_of_it() {
    let server = &*super::server::SHARED;
    let (config, clock) = (server.config(&server.schema().await), clock());
    let a = Node::start(&config, &clock, super::server::patient()).await;
    let b = Node::start(&config, &clock, super::server::patient()).await;
    let bench = Bench { store: Arc::new(a.store.clone()), clock: clock.clone() };
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    while b.store.version() < a.store.version() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let recent = b.store.claim_recent(mailbox, &login("anna"));
    b.store.snapshot(mailbox).await.expect("there");
    let (mut watch, mut tree) = (b.store.watch(mailbox), b.store.watch_mailboxes());
    tree.mark_unchanged();
    // as after a long time: what lies in between is not in the log any more
    server.execute(&config, "DELETE FROM log; UPDATE head SET version = version + 100").await;
    bench.deliver(mailbox, "two").await;
    bench.create(&inbox("Sales"), "").await;
    tokio::time::timeout(Duration::from_secs(10), watch.changed())
        .await
        .expect("told")
        .expect("open");
    let snapshot = b.store.snapshot(mailbox).await.expect("there");
    assert_eq!(snapshot.len(), 2);
    assert!(tree.has_changed().expect("open"));
    assert_eq!((recent, b.store.claim_recent(mailbox, &login("anna"))), (Uid(1), Uid(2)));
    bench.deliver(mailbox, "three").await;
    tokio::time::timeout(Duration::from_secs(10), watch.changed())
        .await
        .expect("told")
        .expect("open");
    drop(bench);
    a.stop().await;
    b.stop().await;
}

/// As nodes run: the whole state takes longer than an answer may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_takes_longer_than_an_answer_may_is_waited_for() {
    let server = &*super::server::SHARED;
    let (config, clock, options) =
        (server.config(&server.schema().await), clock(), Options::default());
    let patience = options.patience;
    let node = Node::start(&config, &clock, options).await;
    let bench = Bench { store: Arc::new(node.store.clone()), clock };
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let before = node.store.version();
    let slow = super::super::Target::of(config.clone(), None).open(None).await.expect("there");
    slow.batch_execute("BEGIN; LOCK TABLE turn IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    server.execute(&config, "DELETE FROM log; UPDATE head SET version = version + 100").await;
    tokio::time::sleep(patience * 3).await;
    assert_eq!(node.store.version(), before, "it is loading");
    slow.batch_execute("COMMIT").await.expect("released");
    let from = Instant::now();
    while node.store.version() < before + 100 || node.store.reachable().is_err() {
        assert!(from.elapsed() < RECOVERED, "it is loaded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.deliver(mailbox, "two").await;
    assert_eq!(bench.uids(mailbox).await, [1, 2]);
    drop(bench);
    node.stop().await;
}

#[tokio::test]
async fn a_value_that_the_database_does_not_take_spoils_no_other_transaction() {
    let server = &*super::server::SHARED;
    let (config, clock) = (server.config(&server.schema().await), clock());
    let node = Node::start(&config, &clock, super::server::patient()).await;
    let bench = Bench { store: Arc::new(node.store.clone()), clock };
    let mailbox = bench.inbox().await;
    let subscribed = |folder: &str| Change::Subscribed {
        user: login("anna"),
        account: inbox("Support"),
        folder: crate::mail::account::Folder::new(folder),
        subscribed: true,
    };
    let long: String = (0..4000u32).map(|n| char::from(b'a' + (n * n % 26) as u8)).collect();
    let (nul, long) = (vec![subscribed("a\0b")], vec![subscribed(&long)]);
    let one = || vec![crate::store::contract::delivery(mailbox, "one")];
    let (first, nul, second, long, third) = tokio::join!(
        bench.commit(one()),
        bench.commit(nul),
        bench.commit(one()),
        bench.commit(long),
        bench.commit(one()),
    );
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    assert!(matches!(nul, Err(StoreError::Unavailable(_))), "{nul:?}");
    assert!(matches!(long, Ok(_) | Err(StoreError::Limit(_))), "{long:?}");
    assert_eq!(bench.uids(mailbox).await, [1, 2, 3]);
    drop(bench);
    node.stop().await;
}
