//! For tests of the layers above: a store on each engine, as one or as several nodes, that can be
//! closed and opened again while its user goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

use super::engines::{Folder, Running};
use crate::store::Store;
use crate::store::memory::Memory;
use crate::store::postgres::tests::server::{Node, SHARED, patient};
use crate::sys::ManualClock;

/// How long the nodes may take to show the same, on a machine with much else to do.
const AGREED_MAX: Duration = Duration::from_secs(20);

/// Which engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Engine {
    Memory,
    Embedded,
    /// PostgreSQL, and so many nodes on one database.
    Nodes(usize),
}

/// A running store.
pub(crate) struct Stand {
    clock: Arc<ManualClock>,
    kind: Kind,
}

enum Kind {
    Memory(Arc<Memory>),
    Embedded(Folder, Option<Running>),
    Nodes(Box<Config>, Vec<Node>),
}

impl Stand {
    pub(crate) async fn new(engine: Engine, clock: Arc<ManualClock>) -> Stand {
        let kind = match engine {
            Engine::Memory => Kind::Memory(Arc::new(Memory::new(clock.clone()))),
            Engine::Embedded => {
                let folder = Folder::new();
                let running = Running::open(folder.path(), &clock);
                Kind::Embedded(folder, Some(running))
            }
            Engine::Nodes(count) => {
                let config = SHARED.config(&SHARED.schema().await);
                let mut nodes = Vec::new();
                for _ in 0..count {
                    nodes.push(Node::start(&config, &clock, patient()).await);
                }
                Kind::Nodes(Box::new(config), nodes)
            }
        };
        Stand { clock, kind }
    }

    /// The store, as each of its nodes has it.
    pub(crate) fn stores(&self) -> Vec<Arc<dyn Store>> {
        match &self.kind {
            Kind::Memory(memory) => vec![memory.clone()],
            Kind::Embedded(_, running) => {
                vec![Arc::new(running.as_ref().expect("open").store.clone())]
            }
            Kind::Nodes(_, nodes) => {
                nodes.iter().map(|node| Arc::new(node.store.clone()) as Arc<dyn Store>).collect()
            }
        }
    }

    /// What only the store in memory can do.
    pub(crate) fn memory(&self) -> &Memory {
        match &self.kind {
            Kind::Memory(memory) => memory,
            _ => panic!("the store is not in memory"),
        }
    }

    /// Until all nodes show the same.
    pub(crate) async fn agreed(&self) {
        let Kind::Nodes(_, nodes) = &self.kind else { return };
        let agreed = async {
            let last = nodes.iter().map(|node| node.store.version()).max();
            while nodes.iter().any(|node| Some(node.store.version()) < last) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(AGREED_MAX, agreed).await.expect("a node does not follow");
    }

    /// Closes a node's store and opens it again, from what it has written. Nobody may hold it.
    pub(crate) async fn restart(&mut self, number: usize) {
        match &mut self.kind {
            Kind::Memory(_) => {}
            Kind::Embedded(folder, running) => {
                let old = running.take().expect("open");
                assert_eq!(old.close(), Ok(()));
                *running = Some(Running::open(folder.path(), &self.clock));
            }
            Kind::Nodes(config, nodes) => {
                let new = Node::start(config, &self.clock, patient()).await;
                std::mem::replace(&mut nodes[number], new).stop().await;
            }
        }
    }
}
