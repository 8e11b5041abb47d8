//! Nodes whose clocks are wrong by hours: what they write, and when something ends for them, is by
//! the database's clock.

use std::sync::Arc;
use std::time::Duration;

use super::super::{DatabaseClock, Target};
use super::server::{Node, SHARED, patient};
use crate::mail::id::{Login, Timestamp};
use crate::store::Store;
use crate::store::change::{Actor, Change, Opening, Transaction};
use crate::store::contract::{Bench, delivery, inbox};
use crate::sys::{Clock, ManualClock, SystemClock};

const HOUR_MICROS: i64 = 3600 * 1_000_000;
/// What an answer of the database may be late here, at the most.
const NOISE_MICROS: i64 = 500_000;

/// A machine's clock that is wrong.
struct WrongClock(i64);

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0)
    }
}

async fn nodes(skews: &[i64]) -> Vec<Node> {
    let config = SHARED.config(&SHARED.schema().await);
    let mut nodes = Vec::new();
    for skew in skews {
        let clock = DatabaseClock::new(Arc::new(WrongClock(*skew)));
        let target = Target::of(config.clone(), None);
        nodes.push(Node::by(target, Arc::new(clock), patient()).await);
    }
    nodes
}

fn is_now(time: Timestamp) -> bool {
    (time.0 - SystemClock.now().0).abs() < NOISE_MICROS
}

#[tokio::test]
async fn what_any_node_writes_is_stamped_by_the_databases_clock() {
    let nodes = nodes(&[2 * HOUR_MICROS, 0, -2 * HOUR_MICROS]).await;
    let bench = |node: &Node| Bench {
        store: Arc::new(node.store.clone()),
        clock: Arc::new(ManualClock::default()),
    };
    let mailbox = bench(&nodes[0]).create(&inbox("Support"), "").await;
    let mut last = Timestamp(0);
    for (round, node) in nodes.iter().cycle().take(12).enumerate() {
        assert!(is_now(node.store.now()), "{:?}", node.store.now());
        let changes = vec![delivery(mailbox, &format!("message {round}"))];
        bench(node).commit(changes).await.expect("stored");
        let snapshot = node.store.snapshot(mailbox).await.expect("there");
        let saved = snapshot.iter().last().expect("one").saved;
        assert!(is_now(saved), "{saved:?}");
        assert!(saved >= last, "the order of groups is that of their times");
        last = saved;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn what_is_open_for_a_while_ends_on_all_nodes_at_once() {
    let nodes = nodes(&[-2 * HOUR_MICROS, 2 * HOUR_MICROS]).await;
    let until = Timestamp(nodes[0].store.now().0 + 1_000_000);
    let opening = Opening { user: Login::new("erik"), of: Login::new("ben"), until };
    let changes = vec![Change::GlassBroken { opening, reason: "x".into() }];
    let broken = Transaction { actor: Actor::System, changes };
    nodes[0].store.commit(broken).await.expect("opened");
    while nodes[1].store.openings().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let is_open = |node: &Node| node.store.now() < node.store.openings()[0].until;
    assert!(nodes.iter().all(is_open));
    tokio::time::sleep(Duration::from_micros((1_000_000 + NOISE_MICROS) as u64)).await;
    assert!(!nodes.iter().any(is_open));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_clock_of_a_tests_own_is_not_the_databases() {
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp(5));
    let config = SHARED.config(&SHARED.schema().await);
    let node = Node::start(&config, &clock, patient()).await;
    assert_eq!(node.store.now(), Timestamp(5));
    node.stop().await;
}
