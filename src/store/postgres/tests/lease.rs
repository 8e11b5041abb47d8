//! Duties and failures of two nodes on one database; time passes there by moving its rows back.

use tokio_postgres::NoTls;

use super::server::{Node, SHARED, patient};
use crate::store::Store;
use crate::store::contract::engines::clock;
use crate::store::nodes::{Duty, FAILURES_WINDOW, LEASE};

struct Two {
    schema: String,
    one: Node,
    two: Node,
}

impl Two {
    async fn start() -> Two {
        let (schema, clock) = (SHARED.schema().await, clock());
        let config = SHARED.config(&schema);
        let one = Node::start(&config, &clock, patient()).await;
        let two = Node::start(&config, &clock, patient()).await;
        Two { schema, one, two }
    }

    async fn sql(&self, statement: &str) {
        let connected = SHARED.config(&self.schema).connect(NoTls).await;
        let (client, connection) = connected.expect("the server is there");
        tokio::spawn(connection);
        client.batch_execute(statement).await.expect("executes");
    }

    async fn stop(self) {
        self.one.stop().await;
        self.two.stop().await;
    }
}

#[tokio::test]
async fn a_lease_is_one_nodes_until_it_ends_or_is_released() {
    let nodes = Two::start().await;
    let (one, two) = (&nodes.one.store, &nodes.two.store);
    assert_eq!(one.lease(Duty::Queue).await, Ok(true));
    assert_eq!(two.lease(Duty::Queue).await, Ok(false));
    assert_eq!(two.lease(Duty::Upkeep).await, Ok(true), "each duty by itself");
    assert_eq!(one.lease(Duty::Queue).await, Ok(true), "renewed");
    let nearly = LEASE.as_micros() - 2_000_000;
    nodes.sql(&format!("UPDATE lease SET until = until - {nearly}")).await;
    assert_eq!(two.lease(Duty::Queue).await, Ok(false));
    nodes.sql("UPDATE lease SET until = until - 2000000").await;
    assert_eq!(two.lease(Duty::Queue).await, Ok(true));
    assert_eq!(one.lease(Duty::Queue).await, Ok(false));
    assert_eq!(one.release(Duty::Queue).await, Ok(()), "it is not its own any more");
    assert_eq!(one.lease(Duty::Queue).await, Ok(false));
    assert_eq!(two.release(Duty::Queue).await, Ok(()));
    assert_eq!(one.lease(Duty::Queue).await, Ok(true));
    nodes.stop().await;
}

#[tokio::test]
async fn failures_are_counted_for_all_nodes_and_for_ten_minutes() {
    let nodes = Two::start().await;
    let (one, two) = (&nodes.one.store, &nodes.two.store);
    let of = ["b".to_owned(), "a".to_owned()];
    assert_eq!(one.failures(&of).await, Ok(vec![0, 0]));
    assert_eq!(one.count_failure(&of).await, Ok(vec![1, 1]));
    assert_eq!(two.count_failure(&of[..1]).await, Ok(vec![2]));
    assert_eq!(one.failures(&of).await, Ok(vec![2, 1]));
    assert_eq!(one.forget_failures(&of[1..]).await, Ok(()));
    assert_eq!(two.failures(&of).await, Ok(vec![2, 0]));
    let nearly = FAILURES_WINDOW.as_micros() - 5_000_000;
    nodes.sql(&format!("UPDATE failure SET first = first - {nearly}")).await;
    assert_eq!(two.failures(&of).await, Ok(vec![2, 0]));
    nodes.sql("UPDATE failure SET first = first - 5000000").await;
    assert_eq!(two.failures(&of).await, Ok(vec![0, 0]));
    assert_eq!(two.count_failure(&of).await, Ok(vec![1, 1]), "a window of its own");
    nodes.stop().await;
}

#[tokio::test]
async fn failures_that_come_at_once_are_all_counted() {
    let nodes = Two::start().await;
    let of: Vec<String> = ["x", "y", "z"].map(str::to_owned).into();
    let back: Vec<String> = of.iter().rev().cloned().collect();
    let all = (0..40).map(|n| {
        let store = if n % 2 == 0 { nodes.one.store.clone() } else { nodes.two.store.clone() };
        let of = if n % 3 == 0 { of.clone() } else { back.clone() };
        tokio::spawn(async move { store.count_failure(&of).await })
    });
    for counted in all.collect::<Vec<_>>() {
        assert!(counted.await.expect("no panic").is_ok());
    }
    assert_eq!(nodes.one.store.failures(&of).await, Ok(vec![40; 3]));
    nodes.stop().await;
}
