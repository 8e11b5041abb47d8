//! A database as the source and the target of a migration: who may be on it, and what is there when
//! somebody dies.

use super::super::{Options, Target, open};
use super::server::{Node, SHARED, patient};
use crate::store::StoreError;
use crate::store::contract::Bench;
use crate::store::contract::engines::{Folder, clock, unlocked};
use crate::store::contract::moving::{Home, once_free};
use crate::store::migrate::tests::{Dying, filled};
use crate::store::migrate::{self, Side, Stopped};
use crate::store::sql::tables::{Kind, tables};

#[tokio::test]
async fn a_database_that_nodes_work_on_is_not_moved_and_not_filled() {
    let (from, to) = (Home::new(1).await, Home::new(2).await);
    let mut from = from;
    let store = from.open(&clock()).await;
    drop(store);
    for refused in [from.source().await.map(|_| ()), from.target().await.map(|_| ())] {
        let Err(StoreError::Unavailable(why)) = refused else { panic!("it is taken: {refused:?}") };
        assert!(why.contains("stop all nodes"), "{why}");
    }
    from.close().await;
    let held = once_free(&from).await;
    assert!(from.source().await.is_err(), "by another migration");
    let Home::Database { config, .. } = &from else { panic!("a database") };
    let node = open(Target::of((**config).clone(), None), Options::default(), clock()).await;
    let Err(StoreError::Unavailable(why)) = node.map(|_| ()) else { panic!("it opens") };
    assert!(why.contains("a migration works"), "{why}");
    drop(held);
    let Err(StoreError::Unavailable(why)) = to.source().await.map(|_| ()) else { panic!("none") };
    assert!(why.contains("layout 0"), "{why}");
}

#[tokio::test]
async fn whoever_holds_a_duty_is_alive() {
    let home = Home::new(2).await;
    drop(home.target().await.expect("makes the tables"));
    let Home::Database { config, .. } = &home else { panic!("a database") };
    let far = "INSERT INTO lease (duty, node, until) VALUES ('queue', 1, 9000000000000000)";
    SHARED.execute(config, far).await;
    let mut refused = None;
    for _ in 0..100 {
        refused = home.source().await.map(|_| ()).err();
        if refused.as_ref().is_some_and(|why| why.to_string().contains("the duty")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let refused = refused.expect("refused").to_string();
    assert!(refused.contains("the duty \"queue\""), "{refused}");
}

#[tokio::test]
async fn whoever_is_killed_at_any_put_into_a_database_goes_on_there() {
    let from = Folder::new();
    filled(from.path()).await;
    for (number, late) in [(1, false), (1, true), (2, false), (2, true)] {
        let mut to = Home::new(number).await;
        let scratch = Folder::new();
        for puts in 1.. {
            let mut source = unlocked(|| crate::store::embedded::migrate::source(from.path()));
            let target = loop {
                // the last one's connection ends a moment later
                match to.target().await {
                    Ok(target) => break target,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            };
            let mut target = Side::new(Dying::new(target, 3 + puts % 7, late));
            let folder = scratch.path().join("scratch");
            match migrate::run((&mut source, &mut target), folder, &mut |_| {}).await {
                Ok(()) => break,
                Err(Stopped::HalfWay(StoreError::Unavailable(why))) => assert_eq!(why, "killed"),
                Err(other) => panic!("{other:?}"),
            }
        }
        let store = loop {
            let Home::Database { config, .. } = &to else { panic!("a database") };
            // as above
            match open(Target::of((**config).clone(), None), Options::default(), clock()).await {
                Ok(_) => break to.open(&clock()).await,
                Err(StoreError::Unavailable(why)) if why.contains("works on") => {}
                Err(other) => panic!("{other:?}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        let bench = Bench { store, clock: clock() };
        let mailbox = bench.store.mailboxes(&crate::store::contract::inbox("Support"))[0].id;
        let snapshot = bench.snapshot(mailbox).await;
        assert_eq!(snapshot.len(), 72);
        for entry in snapshot.iter() {
            let body = bench.store.body(entry.blob, 0..u64::MAX).await.expect("whole");
            assert_eq!(body.len() as u32 + entry.trace_bytes, entry.size_bytes);
        }
        drop(bench);
        to.close().await;
    }
}

#[tokio::test]
async fn a_half_filled_database_is_not_opened() {
    let (from, to) = (Folder::new(), Home::new(2).await);
    filled(from.path()).await;
    let mut source = crate::store::embedded::migrate::source(from.path()).expect("a source");
    let mut target = Side::new(Dying::new(to.target().await.expect("a target"), 5, false));
    let folder = from.path().join("scratch");
    let stopped = migrate::run((&mut source, &mut target), folder, &mut |_| {}).await;
    assert!(matches!(stopped, Err(Stopped::HalfWay(_))), "{stopped:?}");
    drop(target);
    let Home::Database { config, .. } = &to else { panic!("a database") };
    let mut why = String::new();
    for _ in 0..100 {
        let opened = open(Target::of((**config).clone(), None), Options::default(), clock()).await;
        why = opened.map(|_| ()).expect_err("half-filled").to_string();
        if why.contains("not complete") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(why.contains("not complete"), "{why}");
}

#[tokio::test]
async fn the_list_of_tables_is_that_of_the_database() {
    let config = SHARED.config(&SHARED.schema().await);
    Node::start(&config, &clock(), patient()).await.stop().await;
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    let own = ["head", "log", "blob", "object", "lease", "failure", "layout"];
    let asked =
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), CAST(data_type AS TEXT)
      FROM information_schema.columns WHERE table_schema = current_schema()
      ORDER BY table_name, ordinal_position";
    let found = client.query(asked, &[]).await.expect("answers");
    let found = found.iter().map(|row| (row.get(0), row.get(1), row.get(2)));
    let found: Vec<(String, String, String)> =
        found.filter(|(table, _, _): &(String, _, _)| !own.contains(&table.as_str())).collect();
    let mut expected: Vec<(String, String, String)> = Vec::new();
    let mut all: Vec<_> = tables().iter().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    for table in all {
        for column in &table.columns {
            let kind = match column.kind {
                Kind::Int => "bigint",
                Kind::Text => "text",
                Kind::Bytes => "bytea",
            };
            expected.push((table.name.clone(), column.name.clone(), kind.into()));
        }
    }
    assert_eq!(found, expected);
}
