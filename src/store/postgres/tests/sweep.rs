//! Bytes in a bucket or in the database: what nothing refers to goes, step by step, whoever dies in
//! between; what a message refers to stays.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio_postgres::{Config, NoTls};

use super::super::shared::Shared;
use super::super::{Target, blobs, sweep};
use super::server::{Node, SHARED, patient};
use crate::mail::id::{MailboxId, Timestamp, Uid};
use crate::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction};
use crate::store::contract::engines::{Folder, clock};
use crate::store::contract::{Bench, START, delivered, message, stored, uids};
use crate::store::objects::ObjectId;
use crate::store::objects::rig::{Door, Manners, TestBucket};
use crate::store::{Store, StoreError};
use crate::sys::ManualClock;

/// Beyond the grace of a message, and the life of a duplicate key.
const LATER_SECS: i64 = 2 * 24 * 3600;

/// Nodes on one database, with or without a bucket.
pub(super) struct World {
    pub(super) config: Config,
    pub(super) bucket: Option<TestBucket>,
    clock: Arc<ManualClock>,
    pub(super) nodes: Vec<Node>,
    pub(super) mailbox: MailboxId,
    folder: Folder,
}

impl World {
    async fn new(bucket: Option<TestBucket>) -> World {
        let config = SHARED.config(&SHARED.schema().await);
        let (clock, folder) = (clock(), Folder::new());
        let (nodes, mailbox) = (Vec::new(), MailboxId(0));
        let mut world = World { config, bucket, clock, nodes, mailbox, folder };
        for _ in 0..2 {
            let node = world.start().await;
            world.nodes.push(node);
        }
        world.mailbox = world.bench(0).inbox().await;
        world
    }

    async fn start(&self) -> Node {
        let objects = self.bucket.as_ref().map(TestBucket::objects);
        let target = Target::of(self.config.clone(), None).with_objects(objects);
        Node::at(target, &self.clock, patient()).await
    }

    /// A node that dies, and comes back.
    pub(super) async fn restart(&mut self, number: usize) {
        let new = self.start().await;
        std::mem::replace(&mut self.nodes[number], new).kill();
    }

    pub(super) fn bench(&self, node: usize) -> Bench {
        let store = Arc::new(self.nodes[node].store.clone());
        Bench { store, clock: self.clock.clone() }
    }

    fn shared(&self, node: usize) -> &Shared {
        &self.nodes[node].store.0.shared
    }

    fn pass(&self, seconds: i64) {
        let now = self.clock_now() + seconds;
        self.clock.set(Timestamp::from_seconds(now));
    }

    fn clock_now(&self) -> i64 {
        self.nodes[0].store.now().seconds()
    }

    /// Large ones come in a spool file.
    fn new_message(&self, text: u8) -> NewMessage {
        let plain = message(&format!("text {text}"));
        if !text.is_multiple_of(3) {
            return plain;
        }
        let bytes = vec![text; 300_000];
        let path = self.folder.path().join(format!("spooled-{text}"));
        std::fs::write(&path, &bytes).expect("written");
        let hash = *blake3::hash(&bytes).as_bytes();
        NewMessage { bytes: Bytes::File { path, len: 300_000 }, hash, ..plain }
    }

    pub(super) async fn deliver(&self, node: usize, text: u8) -> Result<Uid, StoreError> {
        let of = delivered(self.mailbox, "");
        let it = Delivered { message: self.new_message(text), trace: b"X: y\r\n".to_vec(), ..of };
        let changes = vec![Change::Delivered(Box::new(it))];
        let transaction = Transaction { actor: Actor::Delivery, changes };
        let receipt = self.nodes[node].store.commit(transaction).await?;
        Ok(stored(&receipt.outcomes[0]))
    }

    async fn expunge(&self, node: usize, set: &str) {
        let gone = Change::Expunged { mailbox: self.mailbox, uids: uids(set) };
        self.bench(node).one(gone).await;
    }

    /// Until every node has followed the others.
    pub(super) async fn agreed(&self) {
        let last = self.nodes.iter().map(|node| node.store.version()).max();
        while self.nodes.iter().any(|node| Some(node.store.version()) < last) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every message of the mailbox, on every node.
    pub(super) async fn all_is_readable(&self) {
        self.agreed().await;
        for node in &self.nodes {
            let snapshot = node.store.snapshot(self.mailbox).await.expect("there");
            for entry in snapshot.iter() {
                let body = node.store.body(entry.blob, 0..u64::MAX).await;
                let body = body.unwrap_or_else(|e| panic!("uid {}: {e}", entry.uid.0));
                assert_eq!(body.len() as u32 + entry.trace_bytes, entry.size_bytes);
            }
        }
    }

    pub(super) async fn count(&self, table: &str) -> i64 {
        let (client, connection) = self.config.connect(NoTls).await.expect("connects");
        let driving = tokio::spawn(connection);
        let count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await;
        let count = count.expect("counts").get(0);
        drop(client);
        let _ = driving.await;
        count
    }

    pub(super) async fn objects(&self) -> Vec<ObjectId> {
        match &self.bucket {
            Some(bucket) => bucket.objects().list(None).await.expect("lists"),
            None => Vec::new(),
        }
    }

    pub(super) async fn step(&self, node: usize, step: usize) {
        let shared = self.shared(node);
        match step {
            0 => sweep::doom_abandoned(shared).await.map(|()| false),
            1 => sweep::remove_freed(shared).await,
            2 => sweep::forget_old(shared).await,
            _ => sweep::remove_doomed(shared).await,
        }
        .expect("sweeps");
    }

    pub(super) async fn make_objects_old(&self) {
        SHARED.execute(&self.config, "UPDATE object SET at = at - 7200000000").await;
    }

    async fn nothing_is_left(&self) {
        let facts = ["message", "envelope", "structure", "fields", "header_text", "body_text"];
        let others = ["preview", "message_id", "trace", "duplicate_key", "blob", "object"];
        for table in facts.iter().chain(&others) {
            assert_eq!(self.count(table).await, 0, "{table}");
        }
        assert_eq!(self.objects().await, []);
    }

    pub(super) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

/// In the database, and in a bucket.
pub(super) async fn worlds() -> [World; 2] {
    [World::new(None).await, World::new(Some(TestBucket::new())).await]
}

#[tokio::test]
async fn a_freed_message_goes_after_its_grace_whoever_dies_between_the_steps() {
    for mut world in worlds().await {
        for text in 1..=6 {
            world.deliver(0, text).await.expect("stored");
        }
        world.expunge(1, "1:3").await;
        world.pass(599);
        for step in 0..4 {
            world.step(0, step).await;
        }
        assert_eq!(world.count("message").await, 6, "somebody may still show it");
        world.pass(2);
        for (step, messages, doomed) in [(1, 3, 3), (2, 3, 3), (3, 3, 0)] {
            world.step(0, step).await;
            world.restart(0).await;
            world.all_is_readable().await;
            // the new node may have swept already
            assert_eq!(world.count("message").await, messages);
            assert!(world.count("object").await <= doomed, "after {step}");
        }
        world.expunge(0, "1:*").await;
        world.pass(LATER_SECS);
        for step in 0..4 {
            world.step(1, step).await;
        }
        world.nothing_is_left().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn what_was_staged_for_nothing_goes_and_what_takes_it_too_late_is_refused() {
    for world in worlds().await {
        let late = world.new_message(3);
        let shared = world.shared(0);
        let staged = blobs::stage(shared, vec![&late]).await.expect("staged");
        assert_eq!((staged.len(), world.count("object").await), (1, 1));
        world.step(0, 0).await;
        world.step(0, 3).await;
        assert_eq!(world.count("object").await, 1, "it is young");
        world.make_objects_old().await;
        world.step(1, 0).await;
        world.deliver(0, 3).await.expect("brings its own");
        world.step(1, 3).await;
        world.all_is_readable().await;
        assert_eq!(world.count("object").await, 0);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_message_that_comes_again_while_it_is_swept_is_stored() {
    for world in worlds().await {
        for round in 0..12_u8 {
            let text = 1 + round % 3;
            world.deliver(0, text).await.expect("stored");
            world.expunge(0, "1:*").await;
            world.pass(LATER_SECS);
            let sweeping = async {
                for step in 0..4 {
                    world.step(1, step).await;
                }
            };
            let (delivered, ()) = tokio::join!(world.deliver(0, text), sweeping);
            delivered.expect("stored");
            world.all_is_readable().await;
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_away_takes_nothing_and_loses_nothing() {
    let bucket = TestBucket::new();
    let door = Door::before(&bucket);
    let config = SHARED.config(&SHARED.schema().await);
    let target = Target::of(config.clone(), None).with_objects(Some(bucket.behind(&door)));
    let node = Node::at(target, &clock(), patient()).await;
    let bench = Bench { store: Arc::new(node.store.clone()), clock: clock() };
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "before").await;
    let entry = bench.entry(mailbox, 1).await;
    door.set(Manners::Shut);
    let refused = bench.commit(vec![crate::store::contract::delivery(mailbox, "while")]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let unread = node.store.body(entry.blob, 0..u64::MAX).await;
    assert!(matches!(unread, Err(StoreError::Unavailable(_))), "{unread:?}");
    let none = node.store.messages(&[(entry.blob, entry.trace)]).await.expect("answers");
    assert_eq!(none, [None]);
    let held = "DO $$ BEGIN ASSERT (SELECT count(*) FROM message WHERE lost <> 0) = 0; END $$";
    SHARED.execute(&config, held).await;
    assert_eq!(bench.uids(mailbox).await, [1], "sessions go on with what is in memory");
    door.set(Manners::Slow(Duration::from_millis(300)));
    bench.deliver(mailbox, "slowly").await;
    door.set(Manners::Open);
    assert!(node.store.body(entry.blob, 0..u64::MAX).await.is_ok());
    let there = bucket.objects().list(None).await.expect("lists");
    bucket.objects().remove(&there).await.1.expect("removed behind our back");
    let lost = node.store.body(entry.blob, 0..u64::MAX).await;
    assert!(matches!(&lost, Err(StoreError::Corrupt(why)) if why.contains("missing")), "{lost:?}");
    bench.deliver(mailbox, "after").await;
    drop(bench);
    node.stop().await;
}

#[derive(Clone, Debug)]
enum Act {
    Deliver { node: usize, text: u8 },
    Expunge { node: usize, first: u32 },
    Pass,
    Age,
    Step { node: usize, step: usize },
    DeliverWhileSweeping { text: u8, step: usize },
    Stage { node: usize, text: u8 },
    Restart { node: usize },
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0..2_usize;
    prop_oneof![
        6 => (node.clone(), 1..7_u8).prop_map(|(node, text)| Act::Deliver { node, text }),
        4 => (node.clone(), 1..9_u32).prop_map(|(node, first)| Act::Expunge { node, first }),
        2 => Just(Act::Pass),
        2 => Just(Act::Age),
        8 => (node.clone(), 0..4_usize).prop_map(|(node, step)| Act::Step { node, step }),
        4 => (1..7_u8, 0..4_usize)
            .prop_map(|(text, step)| Act::DeliverWhileSweeping { text, step }),
        2 => (node.clone(), 1..7_u8).prop_map(|(node, text)| Act::Stage { node, text }),
        1 => node.prop_map(|node| Act::Restart { node }),
    ]
}

async fn live(mut world: World, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Deliver { node, text } => drop(world.deliver(node, text).await.expect("stored")),
            Act::Expunge { node, first } => world.expunge(node, &format!("{first}:*")).await,
            Act::Pass => world.pass(LATER_SECS),
            Act::Age => world.make_objects_old().await,
            Act::Step { node, step } => world.step(node, step).await,
            Act::DeliverWhileSweeping { text, step } => {
                let (delivered, ()) = tokio::join!(world.deliver(0, text), world.step(1, step));
                delivered.expect("stored");
            }
            Act::Stage { node, text } => {
                let message = world.new_message(text);
                blobs::stage(world.shared(node), vec![&message]).await.expect("staged");
            }
            Act::Restart { node } => world.restart(node).await,
        }
        world.all_is_readable().await;
    }
    world.expunge(0, "1:*").await;
    world.pass(LATER_SECS);
    world.make_objects_old().await;
    for step in [0, 1, 2, 3, 3] {
        world.step(0, step).await;
    }
    world.nothing_is_left().await;
    world.stop().await;
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn what_is_referred_to_stays_and_nothing_else(
        acts in prop::collection::vec(act(), 1..40),
        in_bucket in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let world = World::new(in_bucket.then(TestBucket::new)).await;
            assert_eq!(world.clock_now(), START);
            live(world, acts).await;
        });
    }
}
