//! What `[store]` may say of a database, and which faults are found where.

use std::path::Path;

use super::*;
use crate::config::{Config, StoreEngine, parse};
use crate::store::postgres::Transport;

fn parsed(lines: &str) -> Result<Config, Vec<String>> {
    let listen = "hostname = \"mail.example.org\"\n[listen]\nsmtp = [\"[::]:25\"]\n";
    let text = format!("{listen}[store]\nengine = \"postgres\"\n{lines}");
    let parsed = parse(&text, Path::new("/etc/postfach/postfach.toml"));
    parsed.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn database(lines: &str) -> Database {
    match parsed(lines).expect("valid").store {
        StoreEngine::Postgres(database) => *database,
        other => panic!("no database: {other:?}"),
    }
}

fn refused(lines: &str, words: &str) {
    let faults = parsed(lines).expect_err("a fault");
    assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?}");
}

#[test]
fn a_url_is_enough() {
    let database = database("url = \"postgres://mail@db.example.org/mail\"\n");
    assert_eq!(database.address.transport(), Transport::Tls);
    assert_eq!(database.news, News::Told);
    assert_eq!(
        (database.blobs, database.password_path, database.ca),
        (Blobs::Database, None, None)
    );
}

#[test]
fn password_and_authority_are_files() {
    let database = database(
        "url = \"postgres://mail@db/mail\"\npassword = \"file:db.secret\"\nca = \"ca.pem\"\n\
         listen = false\n",
    );
    let path = |named: Option<(PathBuf, Place)>| named.map(|(path, _)| path);
    assert_eq!(path(database.password_path), Some("/etc/postfach/db.secret".into()));
    assert_eq!(path(database.ca), Some("/etc/postfach/ca.pem".into()));
    assert_eq!(database.news, News::Asked);
}

#[test]
fn what_is_wrong_is_told_with_its_remedy() {
    refused("", "url");
    refused("url = \"postgres://mail:x@db/mail\"\n", "password = \"file:");
    refused("url = \"mysql://mail@db/mail\"\n", "postgres://");
    refused("url = \"postgres://mail@db/mail\"\npassword = \"geheim\"\n", "does not stand");
    refused("url = \"postgres://mail@db/mail?sslmode=prefer\"\n", "sslmode");
}

#[test]
fn a_node_has_an_index_of_texts_unless_it_is_switched_off() {
    let url = "url = \"postgres://mail@db/mail\"\n";
    for (more, expected) in [("", TextIndexing::On), ("text_index = false\n", TextIndexing::Off)] {
        let config = parsed(&format!("{url}{more}")).expect("valid");
        let StoreEngine::Postgres(database) = config.store else { panic!("no database") };
        assert_eq!(database.text_index, expected);
    }
}
