//! A database that was restored from a backup while a node ran: it is behind what the node has
//! seen, or has overtaken it by the time that the node looks.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

use super::server::{Node, SHARED, patient};
use crate::mail::id::{MailboxId, ModSeq};
use crate::store::contract::engines::clock;
use crate::store::contract::{Bench, inbox};
use crate::store::{Mailbox, Store};
use crate::sys::ManualClock;

struct World {
    schema: String,
    backup: String,
    config: Config,
    clock: Arc<ManualClock>,
    node: Node,
    busy: MailboxId,
    quiet: MailboxId,
}

impl World {
    /// Two mailboxes with a message each are in the backup; the busy one has got three more since.
    async fn new() -> World {
        let (schema, backup) = (SHARED.schema().await, SHARED.schema().await);
        let (config, clock) = (SHARED.config(&schema), clock());
        let node = Node::start(&config, &clock, patient()).await;
        let bench = Bench { store: Arc::new(node.store.clone()), clock: clock.clone() };
        let busy = bench.inbox().await;
        let quiet = bench.create(&inbox("Sales"), "").await;
        bench.deliver(busy, "kept").await;
        bench.deliver(quiet, "kept").await;
        copy(&schema, &backup).await;
        for text in ["lost 1", "lost 2", "lost 3"] {
            bench.deliver(busy, text).await;
        }
        World { schema, backup, config, clock, node, busy, quiet }
    }

    fn mailbox(&self, id: MailboxId) -> Arc<Mailbox> {
        self.node.store.mailbox(id).expect("it is there")
    }

    async fn other_on(&self, schema: &str) -> (Node, Bench) {
        let node = Node::start(&SHARED.config(schema), &self.clock, patient()).await;
        let bench = Bench { store: Arc::new(node.store.clone()), clock: self.clock.clone() };
        (node, bench)
    }

    /// The backup takes the place of what is there; what the node makes of it.
    async fn restore(self) {
        let (busy, quiet) = (self.mailbox(self.busy), self.mailbox(self.quiet));
        let mut watch = self.node.store.watch(self.busy);
        let mut quiet_watch = self.node.store.watch(self.quiet);
        let before = *watch.borrow_and_update();
        quiet_watch.mark_unchanged();
        self.node.store.snapshot(self.busy).await.expect("it is in memory");
        copy(&self.backup, &self.schema).await;
        let ends = async { while watch.changed().await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(10), ends).await.expect("its sessions end");
        assert!(self.mailbox(self.busy).uid_validity > busy.uid_validity);
        assert_eq!(self.mailbox(self.quiet), quiet, "nothing has happened to it");
        assert!(quiet_watch.has_changed().is_ok(), "its sessions go on");
        let (there, bench) = self.other_on(&self.schema).await;
        self.is_like(&there, before).await;
        // both go on from there
        bench.deliver(self.busy, "after").await;
        let own = Bench { store: Arc::new(self.node.store.clone()), clock: self.clock.clone() };
        own.deliver(self.busy, "after").await;
        while there.store.version() < self.node.store.version() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.is_like(&there, before).await;
        drop((bench, own));
        there.stop().await;
        self.node.stop().await;
    }

    /// The node sees what the tables say.
    async fn is_like(&self, there: &Node, before: ModSeq) {
        let (here, there) = (&self.node.store, &there.store);
        for id in [self.busy, self.quiet] {
            assert_eq!(here.mailbox(id), there.mailbox(id));
            let (here, there) = (here.snapshot(id).await, there.snapshot(id).await);
            let (here, there) = (here.expect("read"), there.expect("read"));
            assert!(here.iter().eq(there.iter()));
            assert_eq!(here.uid_validity, there.uid_validity);
            assert_eq!(here.uid_validity, self.mailbox(id).uid_validity);
            assert_eq!(here.highest_modseq, there.highest_modseq);
        }
        assert!(before > ModSeq(0) && self.config.get_dbname().is_some());
    }
}

/// All rows of a schema's tables into another schema, in one transaction.
pub(super) async fn copy(from: &str, to: &str) {
    let copy = format!(
        "DO $$ DECLARE name TEXT; BEGIN
           FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = '{from}' LOOP
             EXECUTE format('CREATE TABLE IF NOT EXISTS {to}.%I
               (LIKE {from}.%I INCLUDING ALL)', name, name);
             EXECUTE format('DELETE FROM {to}.%I', name);
             EXECUTE format('INSERT INTO {to}.%I SELECT * FROM {from}.%I', name, name);
           END LOOP;
         END $$"
    );
    SHARED.execute(&SHARED.config("public"), &copy).await;
}

#[tokio::test]
async fn a_database_that_is_behind_begins_new_epochs_for_what_was_lost() {
    World::new().await.restore().await;
}

#[tokio::test]
async fn a_database_that_has_overtaken_a_node_is_not_followed_as_if_nothing_were() {
    for more in [2, 3, 5] {
        let world = World::new().await;
        let (other, bench) = world.other_on(&world.backup).await;
        for number in 0..more {
            bench.deliver(world.busy, &format!("another {number}")).await;
        }
        drop(bench);
        other.stop().await;
        world.restore().await;
    }
}

#[tokio::test]
async fn a_node_that_writes_first_notices_it_too() {
    let world = World::new().await;
    let (other, bench) = world.other_on(&world.backup).await;
    for number in 0..4 {
        bench.deliver(world.busy, &format!("another {number}")).await;
    }
    drop(bench);
    other.stop().await;
    let before = world.mailbox(world.busy);
    copy(&world.backup, &world.schema).await;
    let own = Bench { store: Arc::new(world.node.store.clone()), clock: world.clock.clone() };
    let uid = own.deliver(world.busy, "after").await;
    assert!(world.mailbox(world.busy).uid_validity > before.uid_validity);
    assert_eq!(uid.0, 6, "behind those that are there");
    drop(own);
    let (there, bench) = world.other_on(&world.schema).await;
    world.is_like(&there, ModSeq(1)).await;
    drop(bench);
    there.stop().await;
    world.node.stop().await;
}

#[tokio::test]
async fn a_node_of_before_an_upgrade_writes_nothing_more() {
    let world = World::new().await;
    SHARED.execute(&world.config, "UPDATE layout SET version = 99").await;
    let own = Bench { store: Arc::new(world.node.store.clone()), clock: world.clock.clone() };
    let refused = own.commit(vec![crate::store::contract::delivery(world.busy, "late")]).await;
    let why = format!("{:?}", refused.expect_err("refused"));
    assert!(why.contains("newer Postfach"), "{why}");
    assert_eq!(own.uids(world.busy).await, [1, 2, 3, 4]);
    drop(own);
    world.node.stop().await;
}
