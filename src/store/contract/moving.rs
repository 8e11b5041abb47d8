//! A store that is moved from engine to engine in the middle of random histories: it goes on as
//! though it had stayed.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio_postgres::Config;

use super::Bench;
use super::engines::{Folder, Running, clock};
use super::history::{Step, history};
use super::random::{Beside, cases};
use crate::mail::id::Timestamp;
use crate::store::embedded;
use crate::store::memory::Memory;
use crate::store::migrate::{self, Side};
use crate::store::objects::rig::TestBucket;
use crate::store::postgres::Target;
use crate::store::postgres::tests::server::{self, Node};
use crate::store::{Store, StoreError, postgres};
use crate::sys::ManualClock;

/// Where a store lives.
pub(in crate::store) enum Home {
    Files(Folder, Option<Running>),
    Database { config: Box<Config>, bucket: Option<TestBucket>, node: Option<Node> },
}

impl Home {
    pub(in crate::store) async fn new(number: usize) -> Home {
        match number % 3 {
            0 => Home::Files(Folder::new(), None),
            with_bucket => {
                let config = Box::new(server::SHARED.config(&server::SHARED.schema().await));
                let bucket = (with_bucket == 1).then(TestBucket::new);
                Home::Database { config, bucket, node: None }
            }
        }
    }

    pub(in crate::store) async fn open(&mut self, clock: &Arc<ManualClock>) -> Arc<dyn Store> {
        let target = self.place();
        match self {
            Home::Files(folder, running) => {
                let opened = running.insert(Running::open(folder.path(), clock));
                Arc::new(opened.store.clone())
            }
            Home::Database { node, .. } => {
                let target = target.expect("a database");
                let opened = node.insert(Node::at(target, clock, server::patient()).await);
                Arc::new(opened.store.clone())
            }
        }
    }

    pub(in crate::store) async fn close(&mut self) {
        match self {
            Home::Files(_, running) => {
                running.take().map_or(Ok(()), Running::close).expect("closes");
            }
            Home::Database { node, .. } => {
                if let Some(node) = node.take() {
                    node.stop().await;
                }
            }
        }
    }

    fn place(&self) -> Option<Target> {
        let Home::Database { config, bucket, .. } = self else { return None };
        let objects = bucket.as_ref().map(TestBucket::objects);
        Some(Target::of((**config).clone(), None).with_objects(objects))
    }

    pub(in crate::store) async fn source(&self) -> Result<Side, StoreError> {
        match (self, self.place()) {
            (_, Some(target)) => postgres::migrate::source(target).await,
            (Home::Files(folder, _), None) => embedded::migrate::source(folder.path()),
            (Home::Database { .. }, None) => unreachable!("it has a place"),
        }
    }

    pub(in crate::store) async fn target(&self) -> Result<Side, StoreError> {
        match (self, self.place()) {
            (_, Some(target)) => postgres::migrate::target(target).await,
            (Home::Files(folder, _), None) => embedded::migrate::target(folder.path()),
            (Home::Database { .. }, None) => unreachable!("it has a place"),
        }
    }
}

/// A node that has ended a moment ago is there for the server a little longer.
pub(in crate::store) async fn once_free(home: &Home) -> Side {
    for _ in 0..200 {
        if let Ok(side) = home.source().await {
            return side;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    home.source().await.expect("nobody is on it")
}

async fn moved(from: &Home, to: &Home) {
    let (mut source, scratch) = (once_free(from).await, Folder::new());
    let mut target = to.target().await.expect("a target");
    let scratch = scratch.path().join("scratch");
    migrate::run((&mut source, &mut target), scratch, &mut |_| {}).await.expect("moved");
}

async fn live(steps: Vec<Step>, first: usize) {
    let clock = clock();
    let mut number = first;
    let mut home = Home::new(number).await;
    let store = home.open(&clock).await;
    let mut beside = Beside::new(Bench { store, clock: clock.clone() });
    for step in steps {
        match step {
            Step::Commit(ops) => beside.commit(&ops).await,
            Step::Wait { hours } => {
                beside.model.now += hours * 3600;
                clock.set(Timestamp::from_seconds(beside.model.now));
            }
            Step::Reopen => {
                beside.bench.store = Arc::new(Memory::new(clock.clone()));
                home.close().await;
                number += 1;
                let next = Home::new(number).await;
                moved(&home, &next).await;
                home = next;
                beside.bench.store = home.open(&clock).await;
            }
        }
        beside.compare().await;
    }
    beside.bench.store = Arc::new(Memory::new(clock.clone()));
    home.close().await;
}

proptest! {
    #![proptest_config(cases(16))]
    #[test]
    fn a_store_that_moves_does_as_the_model(steps in history(), first in 0..3_usize) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        // it moves once at least, and often from each to each
        let steps = steps.into_iter().chain([Step::Reopen, Step::Reopen]).collect();
        runtime.block_on(live(steps, first));
    }
}
