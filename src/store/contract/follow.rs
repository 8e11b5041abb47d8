//! Several nodes on one database: what one does, the others show, and one that comes later, too.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;
use tokio_postgres::Config;

use super::engines;
use super::history::{Step, history};
use super::mirror::{self, World};
use super::random::{Beside, cases};
use super::*;
use crate::mail::id::QueueId;
use crate::store::audit::EntryId;
use crate::store::change::{About, Opening};
use crate::store::postgres::Options;
use crate::store::postgres::tests::poorer::poorer;
use crate::store::postgres::tests::server::{Node, SHARED, patient};

/// Two nodes, and what somebody on each is told.
struct Pair {
    config: Config,
    clock: Arc<ManualClock>,
    options: Options,
    nodes: Vec<Node>,
    watches: [HashMap<MailboxId, watch::Receiver<ModSeq>>; 2],
}

impl Pair {
    async fn start(options: Options) -> Pair {
        let config = match options.listen {
            true => SHARED.config(&SHARED.schema().await),
            // who is not told anything is on a server that has less in other ways, too
            false => poorer().await,
        };
        let clock = engines::clock();
        let mut nodes = Vec::new();
        for _ in 0..2 {
            nodes.push(Node::start(&config, &clock, options.clone()).await);
        }
        Pair { config, clock, options, nodes, watches: Default::default() }
    }

    fn bench(&self, node: usize) -> Bench {
        Bench { store: Arc::new(self.nodes[node].store.clone()), clock: self.clock.clone() }
    }

    /// A node goes and another one comes, which has seen nothing of what happened.
    async fn replace(&mut self, node: usize) {
        let new = Node::start(&self.config, &self.clock, self.options.clone()).await;
        std::mem::replace(&mut self.nodes[node], new).stop().await;
        self.watches[node].clear();
    }

    /// Until both show the same.
    async fn follow(&self) {
        let version = |node: usize| self.nodes[node].store.version();
        for _ in 0..5_000 {
            if version(0) == version(1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("one node is at {}, the other at {}", version(0), version(1));
    }

    fn watch(&mut self, ids: &[MailboxId]) {
        for (node, watches) in self.nodes.iter().zip(&mut self.watches) {
            for id in ids {
                watches.entry(*id).or_insert_with(|| node.store.watch(*id));
            }
        }
    }

    /// Whoever watches on either node has been told of the last change.
    async fn compare_watches(&self) {
        for (node, watches) in self.nodes.iter().zip(&self.watches) {
            for (id, watch) in watches {
                match node.store.snapshot(*id).await {
                    Ok(snapshot) => assert_eq!(*watch.borrow(), snapshot.highest_modseq),
                    Err(_) => assert!(watch.has_changed().is_err(), "it says that it is gone"),
                }
            }
        }
        let [a, b] = [0, 1].map(|node| &self.nodes[node].store);
        assert_eq!(*a.watch_queue().borrow(), *b.watch_queue().borrow());
        assert_eq!(a.audit_tip(), b.audit_tip());
    }

    async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The nodes take turns in doing something; after each transaction both are looked at.
async fn run(steps: &[Step], options: Options) {
    let mut pair = Pair::start(options).await;
    let mut beside = Beside::new(pair.bench(0));
    for (number, step) in steps.iter().enumerate() {
        let turn = number % 2;
        beside.bench = pair.bench(turn);
        match step {
            Step::Commit(ops) => {
                pair.watch(&beside.ids);
                beside.commit(ops).await;
            }
            Step::Wait { hours } => {
                beside.model.now += hours * 3600;
                pair.clock.set(Timestamp::from_seconds(beside.model.now));
            }
            Step::Reopen => {
                drop(std::mem::replace(&mut beside.bench, pair.bench(1 - turn)));
                pair.replace(turn).await;
                beside.bench = pair.bench(turn);
            }
        }
        beside.compare().await;
        pair.follow().await;
        beside.bench = pair.bench(1 - turn);
        beside.compare().await;
        pair.compare_watches().await;
    }
    drop(beside);
    pair.stop().await;
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn two_nodes_do_as_the_model_and_follow_each_other(steps in history()) {
        runtime().block_on(run(&steps, patient()));
    }
}

proptest! {
    #![proptest_config(cases(8))]
    #[test]
    fn nodes_that_nobody_tells_follow_each_other(steps in history()) {
        runtime().block_on(run(&steps, Options { listen: false, ..patient() }));
    }
}

proptest! {
    #![proptest_config(cases(24))]
    #[test]
    fn a_virtual_mailbox_is_the_same_on_each_node(
        ops in proptest::collection::vec(mirror::op(), 1..60)
    ) {
        runtime().block_on(async {
            let mut pair = Pair::start(patient()).await;
            let mut world = World::new(pair.bench(0)).await;
            for (number, op) in ops.iter().enumerate() {
                if let mirror::Op::Reopen = op {
                    drop(std::mem::replace(&mut world.bench, pair.bench(1)));
                    pair.replace(0).await;
                }
                pair.follow().await;
                world.bench = pair.bench(number % 2);
                world.perform(op).await;
            }
            pair.follow().await;
            world.bench = pair.bench(ops.len() % 2);
            world.look(15).await;
            drop(world);
            pair.stop().await;
        });
    }
}

#[tokio::test]
async fn who_watches_a_virtual_mailbox_is_woken_by_what_happens_elsewhere() {
    let pair = Pair::start(patient()).await;
    let mut world = World::new(pair.bench(0)).await;
    world.look(15).await;
    let watch = world.bench.store.watch(world.own);
    // on the other node it is looked at, too, while there is nothing in one of its sources
    world.perform(&mirror::Op::Deliver(0)).await;
    pair.follow().await;
    world.bench = pair.bench(1);
    world.look(15).await;
    pair.follow().await;
    let mut watch = watch;
    watch.mark_unchanged();
    world.perform(&mirror::Op::Deliver(3)).await;
    pair.follow().await;
    assert!(watch.has_changed().expect("open"), "it shows that source");
    drop((world, watch));
    pair.stop().await;
}

#[tokio::test]
async fn what_is_noted_granted_and_handed_out_is_known_on_each_node() {
    let pair = Pair::start(patient()).await;
    let (a, b) = (pair.bench(0), pair.bench(1));
    let tree = b.store.watch_mailboxes();
    let mailbox = a.inbox().await;
    let until = Timestamp::from_seconds(START + 3600);
    let (anna, ben) = (login("anna"), login("ben"));
    let opening = Opening { user: anna.clone(), of: ben.clone(), until };
    let note = |user: Option<&Login>, value: Option<&[u8]>| Change::MetadataSet {
        user: user.cloned(),
        about: About::Mailbox(mailbox),
        entry: "/comment".into(),
        value: value.map(Into::into),
    };
    let turn = |user: &Login, number| Change::TurnTaken {
        account: inbox("Support"),
        user: user.clone(),
        number,
    };
    let first = vec![
        note(Some(&anna), Some(b"mine")),
        note(None, Some(b"ours")),
        turn(&anna, 1),
        turn(&ben, 2),
        Change::AwaySet { user: ben.clone(), until: Some(until) },
        Change::GlassBroken { opening, reason: "ill".into() },
    ];
    let second = vec![
        note(None, None),
        turn(&anna, 3),
        Change::AwaySet { user: ben.clone(), until: None },
        Change::GlassMended { user: anna.clone(), of: ben.clone() },
    ];
    for changes in [first, second] {
        a.commit(changes).await.expect("commits");
        pair.follow().await;
        for user in [Some(&anna), None] {
            assert_eq!(a.store.metadata(user), b.store.metadata(user));
        }
        assert_eq!(a.store.turns(&inbox("Support")), b.store.turns(&inbox("Support")));
        assert_eq!(a.store.absences(), b.store.absences());
        assert_eq!(a.store.openings(), b.store.openings());
        assert_eq!(a.store.audit_tip(), b.store.audit_tip());
        let told = |bench: Arc<dyn Store>| async move {
            bench.audited(EntryId(1), Timestamp(0), 100).await.expect("answers")
        };
        assert_eq!(told(a.store.clone()).await, told(b.store.clone()).await);
    }
    assert!(tree.has_changed().expect("open"));
    let late = b.commit(vec![turn(&ben, 3)]).await;
    assert_eq!(late, Err(StoreError::Outrun), "whoever comes second is told on any node");
    assert_eq!(b.store.queued_from(QueueId(0), 10), vec![]);
    drop((a, b));
    pair.stop().await;
}
