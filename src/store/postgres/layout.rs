//! The tables in PostgreSQL: the shared ones, and what only several nodes on one database need. The
//! same numbers count both. An older database is brought to the present layout by whoever comes
//! first, the others wait; a newer one is refused.

use deadpool_postgres::ClientWrapper;

use super::connection::{failure, is_unknown};
use super::head;
use crate::store::StoreError;
use crate::store::sql::layout;

/// Held while the tables are made: "Postfach" as a number.
const ADVISORY_LOCK: i64 = 0x506f_7374_6661_6368;

/// What each version of the shared layout has beside it here. There is no PostgreSQL database with
/// layout 1 alone.
const OWN: [&str; layout::VERSION] = ["", OWN_2, ""];

/// `head` is one row: whoever holds its lock writes, on whichever node. `log` has what each group
/// changed, for the nodes that did not write it, with its random stamp and that of the group before
/// it. `blob` has message bytes, chunk by chunk: those of the object that `message.start` names
/// where `message.pack` is 0. `object` has those objects that no message refers to: being uploaded,
/// or (`doomed` is 1) to be removed. A `lease` says which node does what only one may do. `failure`
/// counts failed logins.
const OWN_2: &str = "
DROP TABLE search_text;
CREATE TABLE head (one BIGINT PRIMARY KEY, version BIGINT NOT NULL, stamp BIGINT NOT NULL);
INSERT INTO head (one, version, stamp) VALUES (1, 0, 0);
CREATE TABLE log (
  version BIGINT PRIMARY KEY, prior BIGINT NOT NULL, stamp BIGINT NOT NULL, node BIGINT NOT NULL,
  at BIGINT NOT NULL, data BYTEA NOT NULL);
CREATE TABLE blob (
  object BIGINT NOT NULL, chunk BIGINT NOT NULL, data BYTEA NOT NULL,
  PRIMARY KEY (object, chunk));
CREATE TABLE object (
  id BIGINT PRIMARY KEY, place BIGINT NOT NULL, at BIGINT NOT NULL, doomed BIGINT NOT NULL);
CREATE TABLE lease (
  duty TEXT PRIMARY KEY, node BIGINT NOT NULL, until BIGINT NOT NULL);
CREATE TABLE failure (
  subject TEXT PRIMARY KEY, count BIGINT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL);
";

const FIND: &str = "SELECT count(*) FROM information_schema.tables
  WHERE table_schema = current_schema() AND table_name = 'layout'";
const MAKE: &str = "CREATE TABLE layout (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)";
const VERSION: &str = "SELECT version FROM layout WHERE one = 1";
const PUT_VERSION: &str = "INSERT INTO layout (one, version) VALUES (1, $1)
  ON CONFLICT (one) DO UPDATE SET version = excluded.version";

/// Makes the tables, or adds what is missing.
pub(super) async fn upgrade(client: &mut ClientWrapper) -> Result<(), StoreError> {
    upgrade_by(client, &steps()).await
}

/// What leads from each version to the next.
pub(super) fn steps() -> Vec<String> {
    let shared = (0..).map_while(|at| layout::next(&layout::POSTGRES, at));
    shared.zip(OWN).map(|(shared, own)| shared + own).collect()
}

/// As `upgrade`, by these steps.
pub(super) async fn upgrade_by(
    client: &mut ClientWrapper,
    steps: &[String],
) -> Result<(), StoreError> {
    if version(client, steps.len()).await? == steps.len() {
        return Ok(());
    }
    // who upgrades a large database takes longer than a group may
    let patient = "SET statement_timeout = 0; SET lock_timeout = 0";
    client.batch_execute(patient).await.map_err(|e| failure(&e))?;
    let lock = format!("SELECT pg_advisory_lock({ADVISORY_LOCK})");
    match client.batch_execute(&lock).await {
        // without such locks the one who makes the tables first is the only one who can
        Err(error) if is_unknown(&error) => {
            let done = step_by_step(client, steps).await;
            let is_made = version(client, steps.len()).await? == steps.len();
            return if is_made { Ok(()) } else { done };
        }
        locked => locked.map_err(|e| failure(&e))?,
    }
    let done = step_by_step(client, steps).await;
    // the lock ends with the connection at the latest
    let ends = format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})");
    let _ = client.batch_execute(&ends).await;
    done
}

/// Whether the tables are as this version has them.
pub(super) async fn check(client: &ClientWrapper) -> Result<(), StoreError> {
    match version(client, layout::VERSION).await? {
        layout::VERSION => Ok(()),
        older => Err(StoreError::Unavailable(format!(
            "the database has layout {older}, this version {}: `postfach serve` upgrades it",
            layout::VERSION
        ))),
    }
}

/// The layout that is there, at most the newest that is known; 0 for none.
async fn version(client: &ClientWrapper, newest: usize) -> Result<usize, StoreError> {
    let tables: i64 = client
        .query_one(FIND, &[])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|e| failure(&e))?;
    if tables == 0 {
        return Ok(0);
    }
    let found = client.query_opt(VERSION, &[]).await.map_err(|e| failure(&e))?;
    let found: i64 = found.map_or(Ok(0), |row| row.try_get(0)).map_err(|e| failure(&e))?;
    let version = usize::try_from(found).ok().filter(|version| *version <= newest);
    version.ok_or_else(|| newer(found))
}

/// Its rows may mean something that we would destroy.
fn newer(version: i64) -> StoreError {
    StoreError::Unavailable(format!(
        "the database was written by a newer Postfach (layout {version}; this one knows up to {}): \
         run that version or a later one on every node, or restore a backup from before it",
        layout::VERSION
    ))
}

/// All of it in one transaction, so that a crash leaves the database as it was. No group is written
/// meanwhile: nodes of before wait, and then find that the tables are not theirs any more.
async fn step_by_step(client: &mut ClientWrapper, steps: &[String]) -> Result<(), StoreError> {
    // somebody else may have done it while we waited
    let at = version(client, steps.len()).await?;
    let transaction = client.transaction().await.map_err(|e| failure(&e))?;
    match at {
        0 => transaction.batch_execute(MAKE).await.map_err(|e| failure(&e))?,
        _ => drop(transaction.query(head::LOCK, &[]).await.map_err(|e| failure(&e))?),
    }
    for step in steps.iter().skip(at) {
        transaction.batch_execute(step).await.map_err(|e| failure(&e))?;
    }
    let newest = steps.len() as i64;
    transaction.execute(PUT_VERSION, &[&newest]).await.map_err(|e| failure(&e))?;
    transaction.commit().await.map_err(|e| failure(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql;

    #[test]
    fn the_old_texts_go_as_in_the_shared_layout() {
        assert!(OWN_2.contains(sql::DROP_OLD_TEXTS));
    }
}
