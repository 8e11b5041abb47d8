//! What is particular to this engine: several nodes, and a server that goes away.

#![allow(clippy::expect_used)]

mod clock;
mod delta;
mod heavy;
mod indexed;
mod lease;
mod lost;
mod migrate;
mod outages;
pub(in crate::store) mod poorer;
mod restored;
pub(in crate::store) mod server;
mod sweep;
mod upgrade;

use super::{Options, Target, open, open_to_read};
use crate::store::contract::engines::clock;
use crate::store::{Store, StoreError};
use server::SHARED;

/// What somebody is told who opens a store.
async fn refused(config: &tokio_postgres::Config) -> String {
    let target = Target::of(config.clone(), None);
    match open(target, Options::default(), clock()).await {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("opened: {:?}", other.map(|_| ())),
    }
}

#[tokio::test]
async fn nodes_that_come_at_once_make_the_tables_once() {
    let config = SHARED.config(&SHARED.schema().await);
    let coming = (0..6).map(|_| {
        let target = Target::of(config.clone(), None);
        tokio::spawn(async move { open(target, Options::default(), clock()).await.map(|_| ()) })
    });
    for node in coming.collect::<Vec<_>>() {
        assert_eq!(node.await.expect("no panic"), Ok(()));
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_an_older_one_is_brought_up_to_date() {
    let config = SHARED.config(&SHARED.schema().await);
    let node = server::Node::start(&config, &clock(), server::patient()).await;
    node.stop().await;
    SHARED.execute(&config, "UPDATE layout SET version = 99").await;
    let why = refused(&config).await;
    assert!(why.contains("layout 99") && why.contains("newer Postfach"), "{why}");
    SHARED.execute(&config, "ALTER TABLE message DROP COLUMN lost").await;
    SHARED.execute(&config, "UPDATE layout SET version = 2").await;
    server::Node::start(&config, &clock(), server::patient()).await.stop().await;
    // what the first has brought is there
    server::Node::start(&config, &clock(), server::patient()).await.stop().await;
}

#[tokio::test]
async fn who_only_reads_changes_nothing() {
    let config = SHARED.config(&SHARED.schema().await);
    let reading = || open_to_read(Target::of(config.clone(), None), Options::default(), clock());
    let why = reading().await.map(|_| ()).expect_err("there are no tables");
    assert!(why.to_string().contains("layout 0"), "{why}");
    let node = server::Node::start(&config, &clock(), server::patient()).await;
    let found = reading().await.expect("opens");
    assert_eq!(found.grants(), node.store.grants());
    node.stop().await;
}

#[tokio::test]
async fn a_database_that_cannot_hold_all_letters_is_refused() {
    let public = SHARED.config("public");
    let make = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
                TEMPLATE template0";
    SHARED.execute(&public, make).await;
    let mut latin = SHARED.config("public");
    latin.dbname("latin");
    let why = refused(&latin).await;
    assert!(why.contains("UTF-8"), "{why}");
}
