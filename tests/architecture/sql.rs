//! The SQL that is sent to a server is what PostgreSQL, CockroachDB and YugabyteDB have alike, by
//! their documentation; only the first is at hand to be tried. A word that is not listed here has
//! to be looked up first.

use std::collections::BTreeSet;

use crate::source::{Source, read_all};

const FOLDERS: [&str; 3] = ["src/store/sql", "src/store/postgres", "src/store/migrate"];
/// The other engine's own dialect.
const SQLITE: &[&str] = &["WITHOUT", "ROWID", "BLOB", "INTEGER"];

/// Words of statements, of types, and of isolation levels.
const WORDS: &str = "
    ADD ALTER AND ANY AS BEGIN BETWEEN BIGINT BY BYTEA CASE CAST COALESCE COLUMN COMMIT
    COMMITTED CONFLICT COUNT CREATE DEFAULT DELETE DESC DO DROP ELSE END EXISTS FOR FROM IN
    INDEX INSERT INTO IS ISOLATION JOIN KEY LEFT LEVEL LIKE LIMIT NOT NOTHING NULL ON ONLY OR
    ORDER OVER PRIMARY READ REPEATABLE RETURNING ROLLBACK SELECT SET SHOW SUM TABLE TEXT THEN
    TRUE UNIQUE UNNEST UPDATE USING VALUES WHEN WHERE";
/// Functions, and the one table whose columns are named: `u(p1, p2)`.
const FUNCTIONS: &str = "
    clock_timestamp coalesce count current_schema current_setting extract left length now
    octet_length set_config sum u";
/// What is put into statements, and what is said to people.
const OTHERS: &str = "NOW ENCODING UTF UIDVALIDITY";
/// What not all of them have, and what is done without it: `listen = false`; a lease instead of an
/// advisory lock.
const WHERE_PRESENT: &str = "
    LISTEN pg_notify pg_advisory_lock pg_advisory_unlock pg_try_advisory_lock
    pg_try_advisory_lock_shared";

/// The same length as the text, and only what stands in string literals.
fn literals(source: &Source) -> String {
    let (text, code) = (source.text.as_bytes(), source.code.as_bytes());
    let comments = source.comments.as_bytes();
    let keep = |at: usize| {
        let in_literal = code[at] == b' ' && comments[at] == b' ' && !source.is_test(at);
        if in_literal { text[at] } else { b' ' }
    };
    String::from_utf8_lossy(&(0..text.len()).map(keep).collect::<Vec<_>>()).into_owned()
}

/// Words in capitals, and names before a parenthesis.
fn spoken(literals: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut all = BTreeSet::new();
    let mut rest = literals;
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = behind;
        let is_called = behind.starts_with('(');
        let is_name = word.starts_with(|c: char| c.is_ascii_lowercase());
        let is_capital = word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
        if is_capital || is_name && is_called {
            all.insert(word);
        }
    }
    all
}

#[test]
fn sql_is_what_three_servers_have_alike() {
    let known: BTreeSet<&str> = [WORDS, FUNCTIONS, WHERE_PRESENT, OTHERS]
        .iter()
        .flat_map(|list| list.split_whitespace())
        .chain(SQLITE.iter().copied())
        .collect();
    let mut breaches = Vec::new();
    let mut all = BTreeSet::new();
    for source in read_all(&FOLDERS) {
        let literals = literals(&source);
        let spoken = spoken(&literals);
        breaches.extend(spoken.difference(&known).map(|word| format!("{}: {word}", source.path)));
        all.extend(spoken.into_iter().map(str::to_owned));
    }
    crate::report("not looked up for CockroachDB and YugabyteDB", breaches);
    let unused = known.iter().filter(|word| !all.contains(**word)).map(|word| (*word).to_owned());
    crate::report("nobody sends it", unused.collect());
}
