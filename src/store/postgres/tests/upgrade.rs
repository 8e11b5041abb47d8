//! A database that is brought to a newer layout while nodes of before run on it.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio_postgres::Config;

use super::super::{Target, head, layout, sweep};
use super::server::{Node, SHARED, patient};
use crate::mail::id::{MailboxId, Timestamp};
use crate::store::contract::engines::clock;
use crate::store::contract::{Bench, START, delivery};

struct World {
    config: Config,
    node: Node,
    bench: Bench,
    mailbox: MailboxId,
}

impl World {
    async fn new() -> World {
        let config = SHARED.config(&SHARED.schema().await);
        let clock = clock();
        let node = Node::start(&config, &clock, patient()).await;
        let bench = Bench { store: std::sync::Arc::new(node.store.clone()), clock };
        let mailbox = bench.inbox().await;
        bench.deliver(mailbox, "before").await;
        World { config, node, bench, mailbox }
    }

    async fn connect(&self) -> ClientWrapper {
        Target::of(self.config.clone(), None).open(None).await.expect("the server is there")
    }

    /// The layout that the next version of this program will have.
    fn next_layout(&self, step: &str) -> tokio::task::JoinHandle<()> {
        let (target, step) = (Target::of(self.config.clone(), None), step.to_owned());
        tokio::spawn(async move {
            let mut client = target.open(None).await.expect("the server is there");
            let mut steps = layout::steps();
            steps.push(step);
            layout::upgrade_by(&mut client, &steps).await.expect("upgraded");
        })
    }

    async fn is_there(&self, table: &str) -> bool {
        let there = format!("SELECT to_regclass('{table}') IS NOT NULL");
        self.connect().await.query_one(&there, &[]).await.expect("an answer").get(0)
    }
}

#[tokio::test]
async fn a_group_that_waited_for_an_upgrade_is_not_written() {
    let world = World::new().await;
    let upgrade = world.next_layout("CREATE TABLE later (one BIGINT); SELECT pg_sleep(1.5)");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!upgrade.is_finished());
    let refused = world.bench.commit(vec![delivery(world.mailbox, "late")]).await;
    let why = format!("{:?}", refused.expect_err("refused"));
    assert!(why.contains("newer Postfach"), "{why}");
    upgrade.await.expect("no panic");
    assert!(world.is_there("later").await);
    assert_eq!(world.bench.uids(world.mailbox).await, [1]);
}

#[tokio::test]
async fn an_upgrade_waits_for_the_group_that_is_being_written() {
    let world = World::new().await;
    let writing = world.connect().await;
    writing.batch_execute(&format!("BEGIN; {}", head::LOCK)).await.expect("locked");
    let upgrade = world.next_layout("CREATE TABLE later (one BIGINT)");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!upgrade.is_finished() && !world.is_there("later").await);
    writing.batch_execute("COMMIT").await.expect("written");
    upgrade.await.expect("no panic");
    assert!(world.is_there("later").await);
}

#[tokio::test]
async fn a_node_of_before_an_upgrade_removes_nothing() {
    let world = World::new().await;
    world.bench.expunge(world.mailbox, "1").await;
    world.bench.clock.set(Timestamp::from_seconds(START + 24 * 3600));
    let shared = &world.node.store.0.shared;
    world.next_layout("CREATE TABLE later (one BIGINT)").await.expect("no panic");
    let refused = sweep::remove_freed(shared).await;
    let why = format!("{:?}", refused.expect_err("refused"));
    assert!(why.contains("newer Postfach"), "{why}");
    let count = "SELECT count(*) FROM message";
    let there: i64 = world.connect().await.query_one(count, &[]).await.expect("read").get(0);
    assert_eq!(there, 1);
}
