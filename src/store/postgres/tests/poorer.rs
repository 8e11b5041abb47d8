//! A server that speaks like PostgreSQL and has less, as CockroachDB has: nobody is told anything,
//! there are no advisory locks, and settings are listed as text. What is missing is hidden behind
//! functions of the same names, which say that they are not there.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

use super::super::{Options, Target, open};
use super::server::{Node, SHARED, patient};
use crate::store::contract::engines::clock;
use crate::store::contract::{Bench, inbox};
use crate::store::nodes::Duty;
use crate::store::{StoreError, postgres};

const MISSING: [&str; 5] = [
    "pg_notify(TEXT, TEXT) RETURNS VOID",
    "pg_advisory_lock(BIGINT) RETURNS VOID",
    "pg_advisory_unlock(BIGINT) RETURNS BOOLEAN",
    "pg_try_advisory_lock(BIGINT) RETURNS BOOLEAN",
    "pg_try_advisory_lock_shared(BIGINT) RETURNS BOOLEAN",
];
const SETTINGS: &str = "CREATE VIEW pg_settings AS
  SELECT name, setting, CAST(enumvals AS TEXT) AS enumvals FROM pg_catalog.pg_settings";

/// An empty schema of it.
pub(in crate::store) async fn poorer() -> Config {
    let schema = SHARED.schema().await;
    let mut config = SHARED.config(&schema);
    // what stands in the schema comes before what the server has
    config.options(format!("-c search_path={schema},pg_catalog"));
    for function in MISSING {
        let body = "LANGUAGE plpgsql AS $$ BEGIN RAISE undefined_function; END $$";
        SHARED.execute(&config, &format!("CREATE FUNCTION {function} {body}")).await;
    }
    SHARED.execute(&config, SETTINGS).await;
    config
}

fn untold() -> Options {
    Options { listen: false, ..patient() }
}

#[tokio::test]
async fn nodes_that_come_at_once_make_the_tables_once_without_locks() {
    let config = poorer().await;
    let coming = (0..6).map(|_| {
        let target = Target::of(config.clone(), None);
        tokio::spawn(async move { open(target, untold(), clock()).await.map(|_| ()) })
    });
    for node in coming.collect::<Vec<_>>() {
        assert_eq!(node.await.expect("no panic"), Ok(()));
    }
}

#[tokio::test]
async fn nodes_work_together_on_a_server_that_has_less() {
    let (config, clock) = (poorer().await, clock());
    let first = Node::start(&config, &clock, untold()).await;
    let second = Node::start(&config, &clock, untold()).await;
    let bench = |node: &Node| Bench { store: Arc::new(node.store.clone()), clock: clock.clone() };
    let (one, other) = (bench(&first), bench(&second));
    let mailbox = one.inbox().await;
    one.deliver_many(mailbox, 20).await;
    let follow = async || {
        while first.store.version() != second.store.version() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    follow().await;
    let mut watch = other.store.watch(mailbox);
    watch.mark_unchanged();
    one.see(mailbox, "anna", "1:9").await;
    one.expunge(mailbox, "3:4").await;
    follow().await;
    assert!(watch.has_changed().expect("open"));
    assert_eq!(other.unseen(mailbox, "anna").await, 11);
    assert_eq!(other.store.mailboxes(&inbox("Support")).len(), 1);
    other.deliver(mailbox, "one more").await;
    follow().await;
    assert_eq!(one.uids(mailbox).await.last(), Some(&21));
    let body = one.store.body(one.entry(mailbox, 21).await.blob, 0..u64::MAX).await;
    assert!(String::from_utf8_lossy(&body.expect("read")).contains("one more"));
    assert_eq!(one.store.lease(Duty::Queue).await, Ok(true));
    assert_eq!(other.store.lease(Duty::Queue).await, Ok(false));
    assert_eq!(other.store.count_failure(&["anna".into()]).await, Ok(vec![1]));
    assert_eq!(one.store.failures(&["anna".into()]).await, Ok(vec![1]));
    let refused = postgres::migrate::source(Target::of(config.clone(), None)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "a node has a duty");
    drop((one, other));
    first.stop().await;
    second.stop().await;
}
