//! Large mailboxes that change or are loaded as a whole: others go on
//! meanwhile, on the node that does it and on one that follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Config;

use super::super::Postgres;
use super::server::{Node, SHARED, patient};
use crate::mail::flag::{SeenMode, SystemFlags};
use crate::mail::id::MailboxId;
use crate::store::Store;
use crate::store::change::{Change, Transfer};
use crate::store::contract::engines::clock;
use crate::store::contract::{Bench, add_flags, delivery, inbox, login, personal, system, uids};

/// More than what is done on the spot, and on a copy.
const MANY: usize = 50_000;
/// How long others may have to wait for a thread and for the lock, with the work of a debug build.
const WAIT_MAX: Duration = Duration::from_millis(150);

/// Looks at the store all the time, as sessions do that come and go.
struct Beat {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Beat {
    fn start(store: &Postgres, other: MailboxId) -> Beat {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, stopped) = (store.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::SeqCst) {
                let began = Instant::now();
                store.claim_recent(other, &login("ben"));
                let _ = store.watch(other);
                tokio::time::sleep(Duration::from_millis(1)).await;
                longest = longest.max(began.elapsed());
            }
            longest
        });
        Beat { stop, task }
    }

    async fn longest(self) -> Duration {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("no panic")
    }
}

struct World {
    one: Node,
    two: Node,
    bench: Bench,
    config: Config,
    big: MailboxId,
    other: MailboxId,
}

impl World {
    /// Two nodes, and a mailbox that both have in memory.
    async fn new() -> World {
        let (config, clock) = (SHARED.config(&SHARED.schema().await), clock());
        let one = Node::start(&config, &clock, patient()).await;
        let two = Node::start(&config, &clock, patient()).await;
        let bench = Bench { store: Arc::new(one.store.clone()), clock };
        let (big, other) = (bench.create(&inbox("Big"), "").await, bench.inbox().await);
        let first = (0..100).map(|n| delivery(big, &format!("message {n}"))).collect();
        bench.commit(first).await.expect("stored");
        let world = World { one, two, bench, config, big, other };
        while world.bench.snapshot(big).await.len() < MANY {
            world.bench.commit(vec![copied(big, big)]).await.expect("copied");
        }
        world.followed().await;
        world
    }

    async fn followed(&self) {
        while self.two.store.version() < self.one.store.version() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Both nodes go on while a change is made and followed.
    async fn go_on_during(&self, what: &str, change: Change) {
        let beats = [&self.one, &self.two].map(|node| Beat::start(&node.store, self.other));
        self.bench.commit(vec![change]).await.expect("done");
        self.followed().await;
        for beat in beats {
            let longest = beat.longest().await;
            assert!(longest < WAIT_MAX, "{what}: others waited for {longest:?}");
        }
    }
}

fn copied(from: MailboxId, to: MailboxId) -> Change {
    let (from_seen, to_seen) = (SeenMode::Shared, SeenMode::Shared);
    let (uids, user) = (uids("1:*"), login("anna"));
    Change::Copied(Transfer { from, from_seen, uids, to, to_seen, user })
}

/// One thread: what it does, all wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn others_go_on_while_a_large_mailbox_changes_or_is_loaded() {
    let world = World::new().await;
    let (big, other) = (world.big, world.other);
    let three = Node::start(&world.config, &world.bench.clock, patient()).await;
    let beat = Beat::start(&three.store, other);
    assert!(three.store.snapshot(big).await.expect("loads").len() >= MANY);
    let longest = beat.longest().await;
    assert!(longest < WAIT_MAX, "loading: others waited for {longest:?}");
    three.stop().await;
    let to = world.bench.create(&personal("anna"), "").await;
    let flagged = add_flags(big, "1:*", system(SystemFlags::FLAGGED));
    let seen = Change::SeenSet {
        mailbox: big,
        user: login("anna"),
        uids: uids("1:*"),
        seen: true,
        unchanged_since: None,
    };
    for (what, change) in [
        ("flags", flagged),
        ("seen", seen),
        ("copy", copied(big, to)),
        ("expunge", Change::Expunged { mailbox: to, uids: uids("1:*") }),
        ("delete", Change::MailboxDeleted { mailbox: big }),
    ] {
        world.go_on_during(what, change).await;
    }
    let World { one, two, bench, .. } = world;
    drop(bench);
    one.stop().await;
    two.stop().await;
}
